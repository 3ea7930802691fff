#include "engine/transcript.h"

#include <cmath>

#include "base/error.h"
#include "engine/audio_modes.h"
#include "media/log_mel.h"

namespace minicpm {
namespace {

std::string stripped(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin));
}

/// "01:02:03,456" with the mark of the format before the milliseconds.
std::string time_text(double seconds, char mark) {
  const auto ms = static_cast<int64_t>(std::llround(seconds * 1000));
  return fmt::format("{:02}:{:02}:{:02}{}{:03}", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60, mark, ms % 1000);
}

/// Blank lines end a subtitle, and "-->" would look like its times.
std::string subtitle(std::string text) {
  for (size_t at; (at = text.find("\n\n")) != std::string::npos;)
    text.erase(at, 1);
  for (size_t at; (at = text.find("-->")) != std::string::npos;)
    text.replace(at, 3, "->");
  return text;
}

}  // namespace

std::string transcript_instruction(std::string_view language) {
  return std::string(audio_mode("asr").task(prompt_language(language)));
}

TranscriptSegment transcribe_part(Engine& engine, std::span<const float> samples, const SoundCut& cut,
                                  const std::string& instruction, const SamplingParams& sampling,
                                  const std::atomic<bool>* cancel, const std::string& cache_scope) {
  TranscriptSegment segment{static_cast<double>(cut.begin) / kAudioRate, static_cast<double>(cut.end) / kAudioRate, {}};
  const auto part = samples.subspan(static_cast<size_t>(cut.begin), static_cast<size_t>(cut.end - cut.begin));
  constexpr size_t kShortest = kAudioRate / 10;
  if (cut.silent || part.size() < kShortest) return segment;
  ChatRequest request;
  // The official examples end the instruction with a line end of its own.
  request.messages = {
      {"user", {ContentPart::from_text(instruction + "\n"), ContentPart::from_sound({part.begin(), part.end()})}}};
  request.sampling = sampling;
  request.cache_scope = cache_scope;
  const ChatResult result = engine.chat(request, {}, cancel);
  if (result.finish_reason == FinishReason::kCancelled) fail(ErrorCode::kCancelled, "the transcription was cancelled");
  segment.text = stripped(result.text);
  segment.cut_short = result.finish_reason == FinishReason::kLength;
  return segment;
}

std::string transcript_text(const Transcript& transcript) {
  std::string text;
  for (const TranscriptSegment& segment : transcript.segments) {
    if (!segment.text.empty()) text += segment.text + "\n";
  }
  return text;
}

std::string transcript_srt(const Transcript& transcript) {
  std::string text;
  int number = 0;
  for (const TranscriptSegment& segment : transcript.segments) {
    if (segment.text.empty()) continue;
    text += fmt::format("{}{}\n{} --> {}\n{}\n", number == 0 ? "" : "\n", number + 1, time_text(segment.begin, ','),
                        time_text(segment.end, ','), subtitle(segment.text));
    ++number;
  }
  return text;
}

std::string transcript_vtt(const Transcript& transcript) {
  std::string text = "WEBVTT\n";
  for (const TranscriptSegment& segment : transcript.segments) {
    if (segment.text.empty()) continue;
    text += fmt::format("\n{} --> {}\n{}\n", time_text(segment.begin, '.'), time_text(segment.end, '.'),
                        subtitle(segment.text));
  }
  return text;
}

Json transcript_json(const Transcript& transcript) {
  Json segments = Json::array();
  for (const TranscriptSegment& segment : transcript.segments) {
    Json json = {{"begin", segment.begin}, {"end", segment.end}, {"text", segment.text}};
    if (segment.cut_short) json["cut_short"] = true;
    segments.push_back(std::move(json));
  }
  return {{"file", transcript.file},
          {"seconds", transcript.seconds},
          {"text", transcript_text(transcript)},
          {"segments", std::move(segments)}};
}

}  // namespace minicpm
