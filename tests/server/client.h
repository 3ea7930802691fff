// A raw HTTP client, so that the tests see every byte of an answer and can send what no library would.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "base/json.h"

namespace minicpm::server {

struct Reply {
  int status = 0;                              // 0: nothing came
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool complete = false;  // whole by its length or its last chunk

  Json json() const { return parse_json(body, "reply"); }
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;

/// A connection. Waits at most 30 seconds for anything.
class Client {
 public:
  explicit Client(int port);
  ~Client();
  Client(Client&& other) noexcept;
  Client& operator=(Client&&) = delete;

  /// What could not be sent because the server closed is left out.
  void send(std::string_view bytes);
  /// The next answer. `head_only`: to a HEAD request.
  Reply receive(bool head_only = false);
  /// Reads until `text` has come (in what was not yet taken by receive) or the connection ends; whether it came.
  bool wait_for(std::string_view text);
  /// Whether the server closes the connection; what it sends before is dropped.
  bool closes();
  /// The next bytes as they come; fewer where the connection ends.
  std::string read(size_t count);
  const std::string& pending() const { return pending_; }
  /// Closes at once with a reset, as a client does that is killed.
  void reset();

 private:
  bool read_more();
  int socket_ = -1;
  std::string pending_;
};

std::string request_text(std::string_view method, std::string_view path, std::string_view body = {},
                         const HeaderList& headers = {});
Reply ask(int port, std::string_view method, std::string_view path, std::string_view body = {},
          const HeaderList& headers = {});
Reply get(int port, std::string_view path);
Reply post(int port, std::string_view path, const Json& body);

/// The "data:" lines of an event stream, "[DONE]" left out; `done` tells whether it was there.
struct Events {
  std::vector<Json> data;
  std::vector<std::string> names;  // of the "event:" lines
  bool done = false;
};
Events events_of(const std::string& body);
/// One JSON document a line.
std::vector<Json> lines_of(const std::string& body);

}  // namespace minicpm::server
