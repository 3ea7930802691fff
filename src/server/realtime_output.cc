// /v1/realtime: what clients get.
#include "base/base64.h"
#include "base/error.h"
#include "media/log_mel.h"
#include "media/vocoder_mel.h"
#include "media/wav.h"
#include "server/random_id.h"
#include "server/realtime_talk.h"

namespace minicpm::server {
namespace {

int64_t ms_of(int64_t position) {
  return position * 1000 / kAudioRate;
}

std::string_view error_type(int status) {
  return status >= 500 ? "server_error" : "invalid_request_error";
}

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

/// The name that events of answers had before.
std::string beta_name(std::string_view type) {
  constexpr std::string_view kNow = "response.output_", kThen = "response.";
  const std::string_view rest = type.substr(std::min(type.size(), kNow.size()));
  const bool renamed = type.starts_with(kNow) && (rest.starts_with("audio") || rest.starts_with("text"));
  return renamed ? std::string(kThen) + std::string(rest) : std::string(type);
}

}  // namespace

RealtimeTalk::RealtimeTalk(Setup setup)
    : setup_(std::move(setup)),
      session_id_(random_id("sess_")),
      conversation_id_(random_id("conv_")),
      converter_(settings_.input_rate, kAudioRate) {
  settings_.speak = settings_speak_ = setup_.can_speak;
}

void RealtimeTalk::begin(OmniSession& session) {
  session_ = &session;
  send("session.created", {{"session", session_json(settings_, setup_.dialect, session_id_, setup_.model.name)}});
  if (is_beta()) {
    send("conversation.created", {{"conversation", {{"id", conversation_id_}, {"object", "realtime.conversation"}}}});
  }
}

void RealtimeTalk::send(std::string_view type, Json fields) {
  fields["type"] = is_beta() ? beta_name(type) : std::string(type);
  fields["event_id"] = random_id("event_");
  send_(fields);
}

void RealtimeTalk::tell_error(const ApiError& error) {
  tell_error(error, {});
}

void RealtimeTalk::tell_error(const ApiError& error, const std::string& client_event) {
  send("error", {{"error",
                  {{"type", error_type(error.status())},
                   {"code", or_null(error.code())},
                   {"message", error.what()},
                   {"param", or_null(error.param())},
                   {"event_id", or_null(client_event)}}}});
}

// ---- items ---------------------------------------------------------------------------------------------------------

/// A new item at the end of the conversation.
void RealtimeTalk::tell_item(Json item) {
  Json previous;
  {
    const std::scoped_lock lock(mutex_);
    previous = or_null(last_item_);
    last_item_ = item.at("id").get<std::string>();
  }
  if (is_beta()) {
    send("conversation.item.created", {{"previous_item_id", previous}, {"item", std::move(item)}});
    return;
  }
  const bool done = item.at("status") == "completed";
  send("conversation.item.added", {{"previous_item_id", previous}, {"item", item}});
  if (done) send("conversation.item.done", {{"previous_item_id", previous}, {"item", std::move(item)}});
}

/// What the user said is an item from here on.
void RealtimeTalk::committed(const std::string& item_id) {
  Json previous;
  {
    const std::scoped_lock lock(mutex_);
    previous = or_null(last_item_);
  }
  send("input_audio_buffer.committed", {{"previous_item_id", std::move(previous)}, {"item_id", item_id}});
  tell_item({{"id", item_id},
             {"object", "realtime.item"},
             {"type", "message"},
             {"status", "completed"},
             {"role", "user"},
             {"content", Json::array({{{"type", "input_audio"}, {"transcript", nullptr}}})}});
}

void RealtimeTalk::speech_began(const OmniEvent& event) {
  const std::string item_id = random_id("item_");
  {
    const std::scoped_lock lock(mutex_);
    input_item_ = item_id;
  }
  send("input_audio_buffer.speech_started", {{"audio_start_ms", ms_of(event.position)}, {"item_id", item_id}});
}

void RealtimeTalk::speech_ended(const OmniEvent& event) {
  std::string item_id;
  {
    const std::scoped_lock lock(mutex_);
    item_id = std::exchange(input_item_, {});
  }
  if (item_id.empty()) return;
  send("input_audio_buffer.speech_stopped", {{"audio_end_ms", ms_of(event.position)}, {"item_id", item_id}});
  committed(item_id);
}

// ---- answers -------------------------------------------------------------------------------------------------------

Json RealtimeTalk::places(const Response& response) const {
  return {{"response_id", response.id}, {"item_id", response.item_id}, {"output_index", 0}, {"content_index", 0}};
}

Json RealtimeTalk::part_json(const Response& response) const {
  if (response.speak) return {{"type", "audio"}, {"transcript", response.text}};
  return {{"type", "text"}, {"text", response.text}};
}

Json RealtimeTalk::item_json(const Response& response, std::string_view status) const {
  Json content = Json::array();
  if (status != "in_progress") {
    Json part = part_json(response);
    if (!is_beta()) part["type"] = response.speak ? "output_audio" : "output_text";
    content.push_back(std::move(part));
  }
  return {{"id", response.item_id}, {"object", "realtime.item"}, {"type", "message"},
          {"status", status},       {"role", "assistant"},       {"content", std::move(content)}};
}

Json RealtimeTalk::response_json(const Response& response, std::string_view status) const {
  Json json = {{"id", response.id},
               {"object", "realtime.response"},
               {"status", status},
               {"status_details", nullptr},
               {"conversation_id", conversation_id_},
               {"output", Json::array()},
               {"metadata", nullptr},
               {"usage", nullptr}};
  if (is_beta()) {
    json["modalities"] = response.speak ? Json::array({"text", "audio"}) : Json::array({"text"});
  } else {
    json["output_modalities"] = response.speak ? Json::array({"audio"}) : Json::array({"text"});
  }
  return json;
}

void RealtimeTalk::begin_response(int64_t turn) {
  Response response;
  response.id = random_id("resp_");
  response.item_id = random_id("item_");
  response.turn = turn;
  {
    const std::scoped_lock lock(mutex_);
    response.speak = asked_.value_or(settings_speak_);
    asked_.reset();
    response_ = response;
  }
  const Json item = item_json(response, "in_progress");
  send("response.created", {{"response", response_json(response, "in_progress")}});
  send("response.output_item.added", {{"response_id", response.id}, {"output_index", 0}, {"item", item}});
  tell_item(item);
  Json added = places(response);
  added["part"] = part_json(response);
  send("response.content_part.added", std::move(added));
}

void RealtimeTalk::add_text(const OmniEvent& event) {
  Response response;
  {
    const std::scoped_lock lock(mutex_);
    if (!response_) return;
    response_->text += event.text;
    response = *response_;
  }
  Json fields = places(response);
  fields["delta"] = event.text;
  send(response.speak ? "response.output_audio_transcript.delta" : "response.output_text.delta", std::move(fields));
}

void RealtimeTalk::add_sound(const OmniEvent& event) {
  Response response;
  {
    const std::scoped_lock lock(mutex_);
    if (!response_) return;
    response_->samples += static_cast<int64_t>(event.samples.size());
    response = *response_;
  }
  Json fields = places(response);
  fields["delta"] = encode_base64(pcm16(event.samples));
  send("response.output_audio.delta", std::move(fields));
}

void RealtimeTalk::end_response(const OmniEvent& event) {
  Response response;
  {
    const std::scoped_lock lock(mutex_);
    if (!response_) return;
    response = last_ = *std::exchange(response_, std::nullopt);
  }
  const bool cancelled = event.finish_reason == FinishReason::kCancelled,
             length = event.finish_reason == FinishReason::kLength;
  const std::string status = response.failed ? "failed" : cancelled ? "cancelled" : length ? "incomplete" : "completed";
  const std::string item_status = status == "completed" ? "completed" : "incomplete";
  if (response.speak) {
    send("response.output_audio.done", places(response));
    Json transcript = places(response);
    transcript["transcript"] = response.text;
    send("response.output_audio_transcript.done", std::move(transcript));
  } else {
    Json text = places(response);
    text["text"] = response.text;
    send("response.output_text.done", std::move(text));
  }
  Json part = places(response);
  part["part"] = part_json(response);
  send("response.content_part.done", std::move(part));
  const Json item = item_json(response, item_status);
  send("response.output_item.done", {{"response_id", response.id}, {"output_index", 0}, {"item", item}});
  if (!is_beta()) send("conversation.item.done", {{"item", item}});
  Json done = response_json(response, status);
  done["output"].push_back(item);
  if (response.failed) {
    done["status_details"] = {{"type", "failed"}, {"error", {{"type", "server_error"}, {"code", nullptr}}}};
  } else if (cancelled) {
    done["status_details"] = {{"type", "cancelled"},
                              {"reason", response.cancelled ? "client_cancelled" : "turn_detected"}};
  } else if (length) {
    done["status_details"] = {{"type", "incomplete"}, {"reason", "max_output_tokens"}};
  }
  if (!cancelled) {
    const int64_t made = event.timings.tokens, before = event.timings.context_tokens - made;
    prompt_tokens_ += before;
    completion_tokens_ += made;
    done["usage"] = {{"total_tokens", before + made}, {"input_tokens", before}, {"output_tokens", made}};
  }
  send("response.done", {{"response", std::move(done)}});
}

void RealtimeTalk::take(const OmniEvent& event) {
  using Kind = OmniEvent::Kind;
  switch (event.kind) {
    case Kind::kTurnBegins:
      return speech_began(event);
    case Kind::kTurnHeard:
      return speech_ended(event);
    case Kind::kTurnEnds:
      speech_ended(event);
      return begin_response(event.turn);
    case Kind::kText:
      return add_text(event);
    case Kind::kAudio:
      return add_sound(event);
    case Kind::kAnswerEnds:
      return end_response(event);
    case Kind::kError: {
      {
        const std::scoped_lock lock(mutex_);
        if (response_ && response_->turn == event.turn) response_->failed = true;
      }
      return tell_error(to_api_error(Error(event.error, event.text)));
    }
    case Kind::kReady:
    case Kind::kSilence:
    case Kind::kForgotten:
    case Kind::kClosed:
      break;
  }
}

}  // namespace minicpm::server
