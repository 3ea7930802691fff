// Speech to text: long sound part by part, and the transcript in the usual formats.
#pragma once

#include <atomic>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/chat.h"
#include "media/sound_cuts.h"

namespace minicpm {

struct TranscriptSegment {
  double begin = 0, end = 0;  // seconds
  std::string text;
  bool cut_short = false;  // the answer reached its limit of tokens
};

struct Transcript {
  std::string file;
  double seconds = 0;  // of sound
  std::vector<TranscriptSegment> segments;
};

/// What the official examples ask for a transcript in `language`, "zh" or "en"; sound in the other one is translated.
/// Throws Error invalid_request for others.
std::string transcript_instruction(std::string_view language);

/// One part of mono sound at 16 kHz, heard by itself. A silent part has no text. Throws Error as Engine::chat, and
/// cancelled.
TranscriptSegment transcribe_part(Engine& engine, std::span<const float> samples, const SoundCut& cut,
                                  const std::string& instruction, const SamplingParams& sampling,
                                  const std::atomic<bool>* cancel = nullptr, const std::string& cache_scope = {});

/// The segments' texts, a line each.
std::string transcript_text(const Transcript& transcript);
/// Subtitles. Segments without text are left out.
std::string transcript_srt(const Transcript& transcript);
std::string transcript_vtt(const Transcript& transcript);
/// {"file", "seconds", "text", "segments": [{"begin", "end", "text"}]}
Json transcript_json(const Transcript& transcript);

}  // namespace minicpm
