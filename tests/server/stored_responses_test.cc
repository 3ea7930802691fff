// Responses that are kept: going on from them, reading and forgetting them, who sees them, and how many there may be.
#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "server/api_support.h"
#include "server/response_store.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

fs::path temporary_folder() {
  std::string form = (fs::temp_directory_path() / "minicpm-state-XXXXXX").string();
  return mkdtemp(form.data());
}

class StoredResponsesTest : public ApiTest {
 protected:
  StoredResponsesTest() { options.state.folder = folder / "state"; }
  ~StoredResponsesTest() override {
    server.reset();
    fs::remove_all(folder);
  }
  const fs::path folder = temporary_folder();
};

Json question(const Json& input) {
  return {{"model", "pico"}, {"temperature", 0}, {"max_output_tokens", 32}, {"input", input}};
}

Json picture_and_text() {
  const Json image = {{"type", "input_image"}, {"image_url", data_url(asset("word.png"), "image/png")}};
  const Json text = {{"type", "input_text"}, {"text", "Read the text."}};
  return Json::array({{{"role", "user"}, {"content", Json::array({image, text})}}});
}

TEST_F(StoredResponsesTest, GoesOnFromAResponseAsIfAllWereSent) {
  const int port = start();
  const Json first = post(port, "/v1/responses", question(picture_and_text())).json();
  EXPECT_EQ(first["store"], true);
  EXPECT_EQ(first["output"][0]["content"][0]["text"], "HAPPINESS");
  Json body = question("Read the text.");
  body["previous_response_id"] = first["id"];
  const Json second = post(port, "/v1/responses", body).json();
  EXPECT_EQ(second["previous_response_id"], first["id"]);

  Json all = picture_and_text();
  all.push_back(first["output"][0]);
  all.push_back({{"role", "user"}, {"content", "Read the text."}});
  const Json whole = post(port, "/v1/responses", question(all)).json();
  EXPECT_EQ(second["output"][0]["content"], whole["output"][0]["content"]);
  EXPECT_EQ(second["usage"]["input_tokens"], whole["usage"]["input_tokens"]);
  EXPECT_GT(second["usage"]["input_tokens_details"]["cached_tokens"].get<int>(), 32);

  const std::string path = "/v1/responses/" + second["id"].get<std::string>();
  EXPECT_EQ(get(port, path).json(), second);
  const Json items = get(port, path + "/input_items?order=asc").json();
  ASSERT_EQ(items["data"].size(), 3u);
  EXPECT_EQ(items["data"][0]["content"][1]["text"], "Read the text.");
  EXPECT_EQ(items["data"][1], first["output"][0]);
  EXPECT_EQ(items["data"][2]["content"][0]["type"], "input_text");
  EXPECT_EQ(items["has_more"], false);
  const Json page = get(port, path + "/input_items?limit=1&after=" + items["last_id"].get<std::string>()).json();
  EXPECT_EQ(page["data"], Json::array({items["data"][1]}));
  EXPECT_EQ(page["has_more"], true);
  for (const char* query : {"limit=0", "limit=101", "limit=x", "order=up", "after=none"})
    EXPECT_EQ(get(port, path + "/input_items?" + query).status, 400) << query;
  EXPECT_EQ(get(port, path + "?stream=true").status, 400);
}

TEST_F(StoredResponsesTest, StreamsAreKeptAndSurviveTheServer) {
  int port = start();
  Json body = question("Hello");
  body["stream"] = true;
  const Json streamed = events_of(post(port, "/v1/responses", body).body).data.back()["response"];
  body["store"] = false;
  const Json passing = events_of(post(port, "/v1/responses", body).body).data.back()["response"];
  EXPECT_EQ(passing["store"], false);
  server.reset();
  struct stat status = {};
  ASSERT_EQ(stat((folder / "state/server.sqlite").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(stat((folder / "state").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);

  models.clear();
  port = start();
  const std::string path = "/v1/responses/" + streamed["id"].get<std::string>();
  EXPECT_EQ(get(port, path).json(), streamed);
  EXPECT_EQ(get(port, "/v1/responses/" + passing["id"].get<std::string>()).status, 404);
  EXPECT_EQ(ask(port, "DELETE", path).json(),
            (Json{{"id", streamed["id"]}, {"object", "response"}, {"deleted", true}}));
  EXPECT_EQ(ask(port, "DELETE", path).status, 404);
  EXPECT_EQ(get(port, path).status, 404);
  body = question("And now?");
  body["previous_response_id"] = streamed["id"];
  const Reply reply = post(port, "/v1/responses", body);
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.json()["error"]["code"], "previous_response_not_found");
}

TEST_F(StoredResponsesTest, AnotherKeySeesNothing) {
  options.access.api_keys = {"first-key-1", "second-key-2"};
  const int port = start();
  const auto with = [](const char* key) { return HeaderList{{"Authorization", std::string("Bearer ") + key}}; };
  const Json mine = ask(port, "POST", "/v1/responses", question("Hello").dump(), with("first-key-1")).json();
  const std::string path = "/v1/responses/" + mine["id"].get<std::string>();
  EXPECT_EQ(ask(port, "GET", path, {}, with("first-key-1")).status, 200);
  EXPECT_EQ(ask(port, "GET", path, {}, with("second-key-2")).status, 404);
  EXPECT_EQ(ask(port, "GET", path + "/input_items", {}, with("second-key-2")).status, 404);
  EXPECT_EQ(ask(port, "POST", path + "/cancel", {}, with("second-key-2")).status, 404);
  EXPECT_EQ(ask(port, "POST", path + "/cancel", {}, with("first-key-1")).status, 400);
  EXPECT_EQ(ask(port, "DELETE", path, {}, with("second-key-2")).status, 404);
  EXPECT_EQ(ask(port, "GET", path).status, 401);
  Json body = question("And now?");
  body["previous_response_id"] = mine["id"];
  EXPECT_EQ(ask(port, "POST", "/v1/responses", body.dump(), with("second-key-2")).status, 400);
  EXPECT_EQ(ask(port, "POST", "/v1/responses", body.dump(), with("first-key-1")).status, 200);
}

Json response(int number, size_t bytes = 10) {
  return {{"id", "resp_" + std::to_string(number)},
          {"output", Json::array({{{"type", "message"}, {"content", std::string(bytes, 'x')}}})}};
}

std::vector<int> kept(ResponseStore& store, int count) {
  std::vector<int> numbers;
  for (int i = 0; i < count; ++i) {
    if (store.find("me", "resp_" + std::to_string(i))) numbers.push_back(i);
  }
  return numbers;
}

TEST_F(StoredResponsesTest, TheLeastRecentlyUsedGoFirst) {
  options.state.limits = {.responses = 3, .response_bytes = 2000};
  ServerState state(options.state);
  ResponseStore store(state);
  const Json input = Json::array();
  store.add("other", "", input, response(100));
  for (int i = 0; i < 3; ++i)
    store.add("me", i == 1 ? "resp_0" : "", input, response(i));
  const auto before = std::chrono::system_clock::now();
  while (std::chrono::system_clock::now() < before + std::chrono::milliseconds(2)) {  // the clock of "used"
  }
  EXPECT_EQ(store.conversation("me", "resp_1")->size(), 2u);
  EXPECT_FALSE(store.conversation("you", "resp_1"));
  store.add("me", "", input, response(3));
  EXPECT_EQ(kept(store, 4), (std::vector<int>{0, 1, 3}));
  store.add("me", "", input, response(4, 1900));
  EXPECT_EQ(kept(store, 5), std::vector<int>{4});
  EXPECT_TRUE(store.find("other", "resp_100"));
  // The beginning of a conversation is gone.
  store.add("me", "resp_3", input, response(5));
  EXPECT_FALSE(store.conversation("me", "resp_5"));
  EXPECT_FALSE(store.input_items("me", "resp_5"));

  options.state.limits = {.days = -1};  // all is older than tomorrow
  ServerState aged(options.state);
  ResponseStore(aged).add("me", "", input, response(6));
  EXPECT_EQ(kept(store, 7), std::vector<int>{});
}

TEST_F(StoredResponsesTest, SeveralServersShareAFolder) {
  ServerState one(options.state), two(options.state);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      ResponseStore store(i % 2 == 0 ? one : two);
      for (int k = 0; k < 8; ++k)
        store.add("me", "", Json::array(), response(i * 8 + k));
    });
  }
  threads.clear();
  ResponseStore store(one);
  EXPECT_EQ(kept(store, 32).size(), 32u);
}

TEST_F(StoredResponsesTest, AFileThatIsNoDatabaseIsNamed) {
  fs::create_directories(options.state.folder);
  std::ofstream(options.state.folder / "server.sqlite") << std::string(4096, 'x');
  try {
    ServerState state(options.state);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_THAT(error.what(), HasSubstr("server.sqlite"));
  }
}

}  // namespace
}  // namespace minicpm::server
