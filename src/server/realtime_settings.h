// What a client of /v1/realtime may set, in the words of OpenAI's session.update, and what the session makes of it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/omni_session.h"
#include "server/json_body.h"
#include "server/media_parts.h"

namespace minicpm::server {

/// OpenAI's events have two forms: the present one, and that of the time before it (OpenAI-Beta: realtime=v1).
enum class RealtimeDialect { kPresent, kBeta };

struct RealtimeSettings {
  std::string instructions;
  OmniMode mode = OmniMode::kAssistant;
  OmniLanguage language = OmniLanguage::kEnglish;
  std::shared_ptr<const std::vector<float>> voice;  // clip; null: the model's own voice
  std::string voice_name = "default";               // as the client called it
  bool speak = true;
  bool hd = false;
  int input_rate = 24000;
  bool detect_turns = true;
  double threshold = 0.7;
  double silence_ms = 800;
  bool interrupt = true;
  bool answer = true;
  std::optional<double> temperature;  // unset: the model's
  std::optional<int64_t> max_tokens;  // of an answer; unset: as many as there is room for

  /// Takes what `session` has, of either form; `media` reads voice clips, `model` may have voices of its own. Throws
  /// ApiError 400 naming the field, and then nothing has changed.
  void update(const Fields& session, const ServedModel& model, MediaReader& media);
};

/// The whole session as session.created and session.updated show it.
Json session_json(const RealtimeSettings& settings, RealtimeDialect dialect, const std::string& id,
                  const std::string& model);

/// `base`: what the client cannot set.
OmniConfig omni_config(const RealtimeSettings& settings, const OmniConfig& base);

/// "inf" or a number, from `key` of `fields`. Nothing if it is absent.
std::optional<std::optional<int64_t>> read_max_tokens(const Fields& fields, std::string_view key);
/// Whether an array of "text" and "audio" asks for sound. Nothing if it is absent.
std::optional<bool> read_modalities(const Fields& fields, std::string_view key);

}  // namespace minicpm::server
