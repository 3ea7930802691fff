// The voice that answers and texts are spoken in.
#pragma once

#include <string>

#include "cli/options.h"
#include "engine/chat.h"
#include "engine/speech.h"

namespace minicpm::cli {

/// The published message that sets the voice: that of a clip, or the model's own for "" and "default". Throws Error as
/// read_sound.
Message voice_message(const std::string& voice, bool chinese);

/// Speech goes to WAV files, or as raw samples to "-". Throws Error invalid_request for other names.
void check_speech_target(const std::string& out);

/// The speech decoder beside the model. Throws Error invalid_request for models that are no Hugging Face folder.
std::unique_ptr<SpeechMaker> load_speech(const Options& options);

/// Speaks into a file, or to standard output, with progress. Nothing is written where there is nothing to speak.
SpeechResult speak_to(SpeechMaker& maker, const std::string& text, std::span<const float> speaker, uint64_t seed,
                      const std::string& out, bool quiet);

}  // namespace minicpm::cli
