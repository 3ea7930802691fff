// The examples of docs/server.md, as a reader would paste them.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>

#include "base/file_map.h"
#include "e2e/process.h"
#include "server/api_support.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

/// The commands of the page's sh blocks that begin with curl or echo; one ends with the line that closes its quotes.
std::vector<std::string> commands_of(const std::string& page) {
  std::vector<std::string> commands;
  std::istringstream lines(page);
  bool inside = false;
  std::string command;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      inside = line == "```sh";
      continue;
    }
    if (!inside) continue;
    command += (command.empty() ? "" : "\n") + line;
    if (std::ranges::count(command, '\'') % 2 != 0) continue;
    if (command.starts_with("curl ") || command.starts_with("echo ")) commands.push_back(command);
    command.clear();
  }
  return commands;
}

/// Why a command cannot be run here; empty: it can.
std::string obstacle(const std::string& command) {
  if (command.find("/v1/audio/speech") != std::string::npos || command.find("modalities") != std::string::npos) {
    return "needs a model that speaks";
  }
  if (command.find("/api/pull") != std::string::npos || command.find("/api/delete") != std::string::npos) {
    return "needs the hub";
  }
  return {};
}

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

class DocExamplesTest : public ApiTest {
 protected:
  DocExamplesTest() {
    std::string form = (fs::temp_directory_path() / "minicpm-examples-XXXXXX").string();
    folder = mkdtemp(form.data());
    options.state.folder = folder / "state";
    fs::create_directory_symlink(fs::path(MINICPM_SOURCE_DIR) / "assets", folder / "assets");
  }
  ~DocExamplesTest() override {
    server.reset();
    fs::remove_all(folder);
  }

  /// With the address of this server, and with the ids of answers in place of "resp_…" and the like.
  std::string filled(std::string command, int port) const {
    replace_all(command, "http://127.0.0.1:8080", "http://127.0.0.1:" + std::to_string(port));
    for (const auto& [prefix, id] : ids)
      replace_all(command, prefix + "…", id);
    replace_all(command, "curl ", "curl -sS --fail-with-body ");
    return command;
  }
  void remember_id(const std::string& output) {
    const Json json = Json::parse(output, nullptr, false);
    if (!json.is_object() || !json.contains("id")) return;
    const std::string id = json["id"];
    const size_t end = id.find_first_of("_-");
    if (end != std::string::npos) ids[id.substr(0, end + 1)] = id;
  }

  fs::path folder;
  std::map<std::string, std::string> ids;  // the newest by its prefix: "resp_", "file-", "batch_"
};

TEST_F(DocExamplesTest, AllOfThemWork) {
  if (e2e::run_program("/bin/sh", {"-c", "command -v curl base64 >/dev/null"}).exit_code != 0) {
    GTEST_SKIP() << "curl is not installed";
  }
  const int port = start();
  int run = 0;
  for (const std::string& command : commands_of(read_file(fs::path(MINICPM_SOURCE_DIR) / "docs/server.md", 1u << 20))) {
    if (const std::string why = obstacle(command); !why.empty()) {
      std::cout << "left out, " << why << ": " << command << "\n";
      continue;
    }
    const std::string filled_in = filled(command, port);
    EXPECT_EQ(filled_in.find("…"), std::string::npos) << "nothing before it gave the id: " << command;
    const auto outcome = e2e::run_program("/bin/sh", {"-c", "cd '" + folder.string() + "' && " + filled_in});
    EXPECT_EQ(outcome.exit_code, 0) << command << "\n" << outcome.out << outcome.err;
    if (command.starts_with("echo ")) continue;
    EXPECT_FALSE(outcome.out.empty()) << command;
    remember_id(outcome.out);
    ++run;
  }
  EXPECT_GE(run, 10);
}

}  // namespace
}  // namespace minicpm::server
