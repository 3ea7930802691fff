// The conversation of one client of /v1/realtime: OpenAI's client events to a live session, the session's events to
// OpenAI's server events. Knows nothing of sockets.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/omni_session.h"
#include "media/rate_converter.h"
#include "server/api_error.h"
#include "server/realtime_settings.h"
#include "server/served_models.h"

namespace minicpm::server {

class RealtimeTalk {
 public:
  struct Setup {
    const ServedModel& model;
    MediaShare& media;
    OmniConfig base;  // what clients cannot set
    RealtimeDialect dialect = RealtimeDialect::kPresent;
    bool can_speak = true;
    const std::atomic<bool>& cancelled;  // the client has gone
  };
  explicit RealtimeTalk(Setup setup);
  /// Where events go; called by several threads. Before begin().
  void send_through(std::function<void(const Json&)> send) { send_ = std::move(send); }

  /// What a session is to be opened with.
  OmniConfig first_config() const { return omni_config(settings_, setup_.base); }
  /// Greets the client. The session outlives all later calls.
  void begin(OmniSession& session);

  /// A client's event; what is wrong with it becomes an error event. On one thread.
  void take(std::string_view text);
  /// An event of the session. On one thread, which may be another one.
  void take(const OmniEvent& event);

  /// An error event without a client event.
  void tell_error(const ApiError& error);

  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t completion_tokens() const { return completion_tokens_; }

 private:
  // realtime_input.cc
  struct Event;
  void handle(const Fields& event);
  void update_session(const Fields& event);
  void check_room(const OmniConfig& config) const;
  void append_audio(const Fields& event);
  void commit_audio(const Fields& event);
  void clear_audio(const Fields& event);
  void append_frame(const Fields& event);
  void create_item(const Fields& event);
  void truncate_item(const Fields& event);
  void create_response(const Fields& event);
  void cancel_response(const Fields& event);
  std::vector<ContentPart> read_content(const Fields& item, Json& shown);

  // realtime_output.cc
  struct Response {
    std::string id, item_id;
    int64_t turn = 0;
    bool speak = true;
    std::string text;
    int64_t samples = 0;
    bool failed = false, cancelled = false;  // by the client
  };
  void begin_response(int64_t turn);
  void add_text(const OmniEvent& event);
  void add_sound(const OmniEvent& event);
  void end_response(const OmniEvent& event);
  void speech_began(const OmniEvent& event);
  void speech_ended(const OmniEvent& event);
  Json response_json(const Response& response, std::string_view status) const;
  Json item_json(const Response& response, std::string_view status) const;
  Json part_json(const Response& response) const;
  Json places(const Response& response) const;

  void committed(const std::string& item_id);
  void tell_item(Json item);
  void send(std::string_view type, Json fields);
  void tell_error(const ApiError& error, const std::string& client_event);
  bool is_beta() const { return setup_.dialect == RealtimeDialect::kBeta; }

  const Setup setup_;
  std::function<void(const Json&)> send_;
  const std::string session_id_, conversation_id_;
  OmniSession* session_ = nullptr;

  // Of the thread of client events.
  RealtimeSettings settings_;
  RateConverter converter_;
  int64_t uncommitted_ = 0;  // samples as they came

  // Of both threads.
  mutable std::mutex mutex_;
  bool settings_speak_ = true;
  std::optional<bool> asked_;         // response.create was sent and has not begun: whether it speaks
  std::optional<Response> response_;  // in progress
  Response last_;                     // for conversation.item.truncate
  std::string last_item_;
  std::string input_item_;  // that the user is speaking

  std::atomic<int64_t> prompt_tokens_{0}, completion_tokens_{0};
};

}  // namespace minicpm::server
