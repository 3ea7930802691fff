// /v1/realtime: what clients send.
#include <array>
#include <new>

#include "base/error.h"
#include "media/log_mel.h"
#include "media/wav.h"
#include "models/loaded_model.h"
#include "server/random_id.h"
#include "server/realtime_talk.h"

namespace minicpm::server {
namespace {

constexpr size_t kLongestId = 512;
constexpr int64_t kFramePixels = int64_t{4} << 20;  // many frames wait in a session
constexpr double kShortestCommit = 0.1;             // seconds, as OpenAI has it
constexpr size_t kMostParts = 64;                   // of one item

std::vector<float> from_pcm16(std::string_view bytes) {
  std::vector<float> samples(bytes.size() / 2);
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto low = static_cast<uint8_t>(bytes[2 * i]), high = static_cast<uint8_t>(bytes[2 * i + 1]);
    samples[i] = static_cast<float>(static_cast<int16_t>(high << 8 | low)) / 32768.0f;
  }
  return samples;
}

std::vector<float> read_pcm16(const Fields& fields, std::string_view key, const MediaReader& media) {
  const std::string path = fields.path(key);
  const std::string bytes = media.from_base64(fields.required_string(key), path);
  if (bytes.size() % 2 != 0) bad_field(path, "has an odd number of bytes; samples have two");
  return from_pcm16(bytes);
}

std::string read_id(const Fields& fields, std::string_view key) {
  const std::string id = fields.string(key).value_or("");
  if (id.size() > kLongestId) bad_field(fields.path(key), "is longer than {} bytes", kLongestId);
  return id;
}

[[noreturn]] void unsupported(std::string_view what) {
  throw ApiError(400, fmt::format("{} is not supported by this server", what), "type", "unsupported_event");
}

}  // namespace

void RealtimeTalk::take(std::string_view text) {
  std::string id;
  try {
    const Json json = parse_body(text);
    const Fields event(json);
    id = read_id(event, "event_id");
    handle(event);
  } catch (const ApiError& error) {
    tell_error(error, id);
  } catch (const Error& error) {
    tell_error(to_api_error(error), id);
  } catch (const std::bad_alloc&) {
    tell_error(to_api_error(Error(ErrorCode::kOutOfMemory, "")), id);
  }
}

struct RealtimeTalk::Event {
  std::string_view type;
  void (RealtimeTalk::*handler)(const Fields&);
};

void RealtimeTalk::handle(const Fields& event) {
  static constexpr std::array kEvents = {
      Event{"session.update", &RealtimeTalk::update_session},
      Event{"input_audio_buffer.append", &RealtimeTalk::append_audio},
      Event{"input_audio_buffer.commit", &RealtimeTalk::commit_audio},
      Event{"input_audio_buffer.clear", &RealtimeTalk::clear_audio},
      Event{"input_video_frame.append", &RealtimeTalk::append_frame},
      Event{"conversation.item.create", &RealtimeTalk::create_item},
      Event{"conversation.item.truncate", &RealtimeTalk::truncate_item},
      Event{"response.create", &RealtimeTalk::create_response},
      Event{"response.cancel", &RealtimeTalk::cancel_response},
  };
  const std::string type = event.required_string("type");
  for (const Event& known : kEvents) {
    if (known.type == type) return (this->*known.handler)(event);
  }
  for (const std::string_view known : {"conversation.item.retrieve", "conversation.item.delete",
                                       "output_audio_buffer.clear", "transcription_session.update"}) {
    if (known == type) unsupported(known);
  }
  throw ApiError(400, fmt::format("type: there is no client event \"{}\"", type.substr(0, 100)), "type",
                 "unknown_event");
}

void RealtimeTalk::update_session(const Fields& event) {
  check_fields(event, {{"type", "event_id", "session"}, {}, {}});
  event.require("session");
  MediaReader media(setup_.media, setup_.model, setup_.cancelled);
  RealtimeSettings next = settings_;
  next.update(*event.object("session"), setup_.model, media);
  if (next.speak && !setup_.can_speak) next.speak = false;
  const OmniConfig config = omni_config(next, setup_.base);
  check_room(config);
  const bool anew = config.role != omni_config(settings_, setup_.base).role;
  session_->configure(config);
  if (next.input_rate != settings_.input_rate) converter_ = RateConverter(next.input_rate, kAudioRate);
  settings_ = std::move(next);
  {
    const std::scoped_lock lock(mutex_);
    settings_speak_ = settings_.speak;
    if (anew) asked_.reset();  // what was not begun is not answered any more
  }
  send("session.updated", {{"session", session_json(settings_, setup_.dialect, session_id_, setup_.model.name)}});
}

/// A first message that leaves no room for an answer would end the session.
void RealtimeTalk::check_room(const OmniConfig& config) const {
  constexpr int64_t kAround = 200, kPerSecond = 25;  // tokens: the published sentences and marks; of the voice clip
  const OmniRole& role = config.role;
  int64_t tokens = kAround + config.sampling.max_tokens;
  tokens += std::ssize(setup_.model.model().tokenizer()->encode(role.instruction, ParseSpecial::kNone));
  if (role.voice != nullptr) tokens += kPerSecond * (std::ssize(*role.voice) / kAudioRate + 1);
  if (tokens <= config.context_limit) return;
  bad_field("session.instructions", "first message and longest answer would take {} tokens; the context has {}", tokens,
            config.context_limit);
}

void RealtimeTalk::append_audio(const Fields& event) {
  check_fields(event, {{"type", "event_id", "audio"}, {}, {}});
  const MediaReader media(setup_.media, setup_.model, setup_.cancelled);
  const std::vector<float> samples = read_pcm16(event, "audio", media);
  uncommitted_ += static_cast<int64_t>(samples.size());
  session_->push_audio(converter_.convert(samples));
}

void RealtimeTalk::commit_audio(const Fields& event) {
  check_fields(event, {{"type", "event_id"}, {}, {}});
  if (static_cast<double>(uncommitted_) < kShortestCommit * settings_.input_rate) {
    throw ApiError(400,
                   fmt::format("the buffer has {} ms of sound; {:.0f} are the least to commit",
                               uncommitted_ * 1000 / settings_.input_rate, kShortestCommit * 1000),
                   {}, "input_audio_buffer_commit_empty");
  }
  uncommitted_ = 0;
  session_->keep_turn();
  committed(random_id("item_"));
}

void RealtimeTalk::clear_audio(const Fields& event) {
  check_fields(event, {{"type", "event_id"}, {}, {}});
  uncommitted_ = 0;
  converter_ = RateConverter(settings_.input_rate, kAudioRate);
  session_->drop_turn();
  {
    const std::scoped_lock lock(mutex_);
    input_item_.clear();
  }
  send("input_audio_buffer.cleared", Json::object());
}

void RealtimeTalk::append_frame(const Fields& event) {
  check_fields(event, {{"type", "event_id", "image"}, {}, {}});
  MediaReader media(setup_.media, setup_.model, setup_.cancelled);
  const std::string bytes = media.from_data_url(event.required_string("image"), "image");
  auto picture = media.picture(bytes, "image").images.front();
  if (int64_t{picture->width} * picture->height > kFramePixels) {
    bad_field("image", "a frame of {} x {} pixels; {} are the most", picture->width, picture->height, kFramePixels);
  }
  session_->push_frame(std::move(picture));
}

/// The parts of a message, and how they are shown to the client.
std::vector<ContentPart> RealtimeTalk::read_content(const Fields& item, Json& shown) {
  item.require("content");
  const Json* content = item.array("content");
  if (content->empty() || content->size() > kMostParts) {
    bad_field(item.path("content"), "has {} parts; 1 to {} are taken", content->size(), kMostParts);
  }
  MediaReader media(setup_.media, setup_.model, setup_.cancelled);
  std::vector<ContentPart> parts;
  shown = Json::array();
  for (size_t i = 0; i < content->size(); ++i) {
    const Fields part((*content)[i], fmt::format("{}[{}]", item.path("content"), i));
    const std::string type = part.required_string("type");
    if (type == "input_text" || type == "text") {
      check_fields(part, {{"type", "text"}, {}, {}});
      parts.push_back(ContentPart::from_text(part.required_string("text")));
      shown.push_back({{"type", "input_text"}, {"text", parts.back().text}});
    } else if (type == "input_audio") {
      check_fields(part, {{"type", "audio"}, {"transcript"}, {}});
      RateConverter converter(settings_.input_rate, kAudioRate);
      parts.push_back(ContentPart::from_sound(converter.convert(read_pcm16(part, "audio", media))));
      shown.push_back({{"type", "input_audio"}, {"transcript", nullptr}});
    } else if (type == "input_image") {
      check_fields(part, {{"type", "image_url", "detail"}, {}, {}});
      const std::string path = part.path("image_url");
      parts.push_back(media.picture(media.from_data_url(part.required_string("image_url"), path), path));
      if (part.string("detail").value_or("auto") == "high") parts.back().max_slices = setup_.base.hd_slices;
      shown.push_back({{"type", "input_image"}});
    } else {
      bad_field(part.path("type"), "must be input_text, input_audio or input_image");
    }
  }
  return parts;
}

void RealtimeTalk::create_item(const Fields& event) {
  check_fields(event, {{"type", "event_id", "previous_item_id", "item"}, {}, {}});
  event.require("item");
  const Fields item = *event.object("item");
  check_fields(item, {{"type", "id", "role", "content"}, {"object", "status"}, {}});
  if (item.required_string("type") != "message") bad_field("item.type", "must be message");
  if (item.required_string("role") != "user") {
    bad_field("item.role", "must be user; instructions go into session.update");
  }
  if (const auto before = event.string("previous_item_id")) {
    const std::scoped_lock lock(mutex_);
    if (*before != last_item_) bad_field("previous_item_id", "must be the last item; items go to the end only");
  }
  std::string id = read_id(item, "id");
  if (id.empty()) id = random_id("item_");
  Json shown;
  session_->push_parts(read_content(item, shown));
  session_->keep_turn();
  tell_item({{"id", id},
             {"object", "realtime.item"},
             {"type", "message"},
             {"status", "completed"},
             {"role", "user"},
             {"content", std::move(shown)}});
}

void RealtimeTalk::truncate_item(const Fields& event) {
  check_fields(event, {{"type", "event_id", "item_id", "content_index", "audio_end_ms"}, {}, {}});
  const std::string id = event.required_string("item_id");
  event.require("audio_end_ms");
  const int64_t end_ms = *event.integer("audio_end_ms", 0, int64_t{24} * 3600 * 1000);
  event.integer("content_index", 0, 0);
  Response answer;
  bool in_progress = false;
  {
    const std::scoped_lock lock(mutex_);
    in_progress = response_ && response_->item_id == id;
    if (!in_progress && last_.item_id != id) {
      throw ApiError(404, "item_id: only the last answer can be truncated", "item_id", "item_not_found");
    }
    if (in_progress) response_->cancelled = true;
    answer = in_progress ? *response_ : last_;
  }
  if (in_progress) session_->interrupt();
  const int64_t heard = end_ms * 24;  // samples
  if (answer.speak && answer.samples > 0 && heard < answer.samples) {
    session_->cut_answer(answer.turn, static_cast<double>(heard) / static_cast<double>(answer.samples));
  }
  send("conversation.item.truncated", {{"item_id", id}, {"content_index", 0}, {"audio_end_ms", end_ms}});
}

void RealtimeTalk::create_response(const Fields& event) {
  check_fields(event, {{"type", "event_id", "response"}, {}, {}});
  RealtimeSettings once = settings_;
  const auto fields = event.object("response");
  std::string instructions;
  if (fields) {
    check_fields(*fields, {{"instructions", "output_modalities", "modalities", "max_output_tokens",
                            "max_response_output_tokens", "temperature", "conversation"},
                           {"metadata", "tool_choice", "parallel_tool_calls", "voice", "audio", "output_audio_format"},
                           {"tools", "input", "prompt"}});
    if (fields->string("conversation").value_or("auto") != "auto") bad_field("response.conversation", "must be auto");
    instructions = fields->string("instructions").value_or("");
    once.speak = read_modalities(*fields, "output_modalities").value_or(once.speak);
    once.speak = read_modalities(*fields, "modalities").value_or(once.speak) && setup_.can_speak;
    once.max_tokens = read_max_tokens(*fields, "max_output_tokens").value_or(once.max_tokens);
    once.max_tokens = read_max_tokens(*fields, "max_response_output_tokens").value_or(once.max_tokens);
    if (const auto value = fields->number("temperature", 0, 2)) once.temperature = value;
  }
  const OmniConfig config = omni_config(once, setup_.base);
  validate(config);
  {
    const std::scoped_lock lock(mutex_);
    if (asked_ || response_) {
      throw ApiError(400, "an answer is in progress; cancel it or wait for response.done", {},
                     "conversation_already_has_active_response");
    }
    asked_ = once.speak;
  }
  uncommitted_ = 0;
  if (fields) session_->configure(config);
  if (!instructions.empty()) session_->push_parts({ContentPart::from_text(instructions)});
  session_->answer();
  if (fields) session_->configure(omni_config(settings_, setup_.base));
}

void RealtimeTalk::cancel_response(const Fields& event) {
  check_fields(event, {{"type", "event_id", "response_id"}, {}, {}});
  const std::string id = event.string("response_id").value_or("");
  {
    const std::scoped_lock lock(mutex_);
    const bool known = id.empty() || (response_ && response_->id == id);
    if ((!asked_ && !response_) || !known) {
      throw ApiError(400, "there is no such answer in progress", "response_id", "response_cancel_not_active");
    }
    asked_.reset();
    if (response_) response_->cancelled = true;
  }
  session_->interrupt();
}

}  // namespace minicpm::server
