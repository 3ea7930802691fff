// Computed prompts that clients keep on the server's disk.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "server/api_support.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

using ::testing::HasSubstr;
using ::testing::Not;

class ServerSessionsTest : public ApiTest {
 protected:
  ServerSessionsTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder = fs::temp_directory_path() / (std::string("minicpm-") + test->name() + "-" + std::to_string(getpid()));
  }
  ~ServerSessionsTest() override {
    server.reset();
    fs::remove_all(folder);
  }

  /// A server as it is after a restart, with nothing in its cache.
  int restart(SessionLimits limits = {}) {
    server.reset();
    auto sessions = std::make_shared<SessionFolder>(folder, limits);
    EngineOptions engine;
    engine.backend.num_threads = 1;
    engine.media_key = sessions->media_key();
    options.sessions = std::move(sessions);
    models.clear();
    for (const char* name : {"pico", "pico:q8_0"})
      models.push_back(load_served_model({name, ""}, engine));
    return start();
  }

  Json document() const {
    std::string text;
    for (int i = 0; i < 60; ++i)
      text += "line " + std::to_string(i) + " ";
    return Json::array({image_part(asset("word.png")), text_part(text + "Read the text.")});
  }

  fs::path folder;
};

int64_t computed(const Json& answer) {
  const Json& usage = answer["usage"];
  return usage["prompt_tokens"].get<int64_t>() - usage["prompt_tokens_details"]["cached_tokens"].get<int64_t>();
}

TEST_F(ServerSessionsTest, APromptIsComputedOnceForTwoServers) {
  int port = restart();
  const Json body = openai_question(document());
  const Reply saved = post(port, "/v1/sessions/paper", body);
  ASSERT_EQ(saved.status, 200) << saved.body;
  const int64_t tokens = saved.json()["tokens"];
  const Json first = post(port, "/v1/chat/completions", body).json();
  EXPECT_EQ(first["usage"]["prompt_tokens"], tokens);
  EXPECT_EQ(computed(first), 1);

  port = restart();
  const Json list = get(port, "/v1/sessions").json()["data"];
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["id"], "paper");
  EXPECT_EQ(list[0]["bytes"], saved.json()["bytes"]);
  const Reply restored = post(port, "/v1/sessions/paper/restore", Json::object());
  ASSERT_EQ(restored.status, 200) << restored.body;
  EXPECT_EQ(restored.json()["tokens"], tokens);
  const Json second = post(port, "/v1/chat/completions", body).json();
  EXPECT_EQ(computed(second), 1);
  EXPECT_EQ(second["choices"][0]["message"]["content"], first["choices"][0]["message"]["content"]);
  // Not in another model.
  const Reply other = post(port, "/v1/sessions/paper/restore", {{"model", "pico:q8_0"}});
  EXPECT_EQ(other.status, 400);
  EXPECT_THAT(other.body, HasSubstr("belongs to another model"));
  EXPECT_EQ(ask(port, "DELETE", "/v1/sessions/paper").status, 200);
  EXPECT_EQ(ask(port, "DELETE", "/v1/sessions/paper").status, 404);
  EXPECT_EQ(post(port, "/v1/sessions/paper/restore", Json::object()).status, 404);
}

TEST_F(ServerSessionsTest, SessionsBelongToTheKeyThatMadeThem) {
  options.access.api_keys = {"first-key", "second-key"};
  const int port = restart();
  const HeaderList first = {{"x-api-key", "first-key"}}, second = {{"x-api-key", "second-key"}};
  EXPECT_EQ(ask(port, "POST", "/v1/sessions/a", openai_question("Hello").dump(), first).status, 200);
  EXPECT_EQ(ask(port, "POST", "/v1/sessions/a/restore", "{}", second).status, 404);
  EXPECT_EQ(ask(port, "GET", "/v1/sessions", "", second).json()["data"].size(), 0u);
  EXPECT_EQ(ask(port, "DELETE", "/v1/sessions/a", "", second).status, 404);
  EXPECT_EQ(ask(port, "GET", "/v1/sessions", "", first).json()["data"].size(), 1u);
  EXPECT_EQ(ask(port, "GET", "/v1/sessions").status, 401);
}

TEST_F(ServerSessionsTest, NamesLimitsAndDamage) {
  const int port = restart({.sessions = 1});
  const Json body = openai_question("Hello");
  for (const char* name : {"..", ".hidden", "a%2fb", "a%2F..%2Fb", "a b"}) {
    const Reply reply = post(port, std::string("/v1/sessions/") + name, body);
    EXPECT_GE(reply.status, 400) << name;
    EXPECT_LT(reply.status, 500) << name;
  }
  EXPECT_EQ(post(port, "/v1/sessions/" + std::string(65, 'a'), body).status, 400);
  EXPECT_EQ(post(port, "/v1/sessions/a", body).status, 200);
  EXPECT_EQ(post(port, "/v1/sessions/a", body).status, 200);  // in its own place
  EXPECT_EQ(post(port, "/v1/sessions/b", body).status, 400);
  const fs::path file = folder / "all" / "a.session";
  fs::resize_file(file, fs::file_size(file) - 1);
  const Reply damaged = post(port, "/v1/sessions/a/restore", Json::object());
  EXPECT_EQ(damaged.status, 400);
  EXPECT_THAT(damaged.body, AllOf(HasSubstr("damaged"), Not(HasSubstr(folder.string()))));
}

TEST_F(ServerSessionsTest, NothingIsKeptWithoutAFolder) {
  const int port = start();
  EXPECT_EQ(get(port, "/v1/sessions").status, 403);
  EXPECT_EQ(post(port, "/v1/sessions/a", openai_question("Hello")).status, 403);
  EXPECT_EQ(post(port, "/v1/sessions/a/restore", Json::object()).status, 403);
}

}  // namespace
}  // namespace minicpm::server
