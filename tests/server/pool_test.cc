// Models that are loaded when they are asked for.
#include <gmock/gmock.h>

#include <thread>

#include "base/error.h"
#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience(30);

/// Waits until it is so, without sleeping.
template <typename Condition>
bool becomes_true(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::yield();
  }
  return false;
}

/// Two small models that are not loaded: pico's folder and its GGUF file.
class PoolTest : public ApiTest {
 protected:
  PoolTest() {
    EngineOptions engine;
    engine.backend.num_threads = 1;
    for (const char* name : {"pico", "pico:q8_0"})
      models.push_back(describe_served_model({name, ""}, engine));
    options.pool.keep_alive = std::nullopt;
  }

  std::vector<std::string> loaded_names() {
    std::vector<std::string> names;
    const Json json = get(server->port(), "/api/ps").json();
    for (const Json& model : json["models"])
      names.push_back(model["name"]);
    return names;
  }
};

Json question(const std::string& model) {
  Json body = openai_question({image_part(asset("word.png")), text_part("Read the text.")});
  body["model"] = model;
  return body;
}

TEST_F(PoolTest, ModelsAreKnownBeforeTheyAreLoaded) {
  const int port = start();
  EXPECT_TRUE(loaded_names().empty());
  EXPECT_EQ(get(port, "/v1/models").json()["data"].size(), 2u);
  EXPECT_EQ(get(port, "/v1/models/pico").json()["id"], "pico");
  const Json tags = get(port, "/api/tags").json()["models"];
  ASSERT_EQ(tags.size(), 2u);
  EXPECT_EQ(tags[0]["details"]["format"], "safetensors");
  EXPECT_EQ(tags[1]["details"]["format"], "gguf");
  EXPECT_EQ(tags[1]["details"]["family"], "v45");
  EXPECT_TRUE(loaded_names().empty());
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", question("pico:q8_0"))), "HAPPINESS");
  EXPECT_EQ(loaded_names(), std::vector<std::string>{"pico:q8_0"});
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", question("pico"))), "HAPPINESS");
  EXPECT_EQ(loaded_names().size(), 2u);
  EXPECT_EQ(post(port, "/v1/chat/completions", question("other")).status, 404);
}

TEST_F(PoolTest, OllamasKeepAliveDecides) {
  const int port = start();
  EXPECT_EQ(post(port, "/api/generate", {{"model", "pico"}}).json()["done_reason"], "load");
  EXPECT_EQ(loaded_names().size(), 1u);
  EXPECT_EQ(post(port, "/api/generate", {{"model", "pico"}, {"keep_alive", "1h30m"}}).status, 200);
  const std::string expires = get(port, "/api/ps").json()["models"][0]["expires_at"];
  EXPECT_LT(expires, "2300");
  EXPECT_EQ(post(port, "/api/generate", {{"model", "pico"}, {"keep_alive", -1}}).status, 200);
  EXPECT_GT(get(port, "/api/ps").json()["models"][0]["expires_at"].get<std::string>(), "2300");
  for (const Json& wrong : {Json("soon"), Json("5"), Json("5 m"), Json(""), Json::array(), Json(true)}) {
    const Reply reply = post(port, "/api/generate", {{"model", "pico"}, {"keep_alive", wrong}});
    EXPECT_EQ(reply.status, 400) << wrong;
    EXPECT_THAT(reply.body, HasSubstr("keep_alive"));
  }
  EXPECT_EQ(post(port, "/api/generate", {{"model", "pico"}, {"keep_alive", 0}}).json()["done_reason"], "unload");
  EXPECT_TRUE(becomes_true([&] { return loaded_names().empty(); }));
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", question("pico"))), "HAPPINESS");
}

TEST_F(PoolTest, IdleModelsGoAfterTheirTime) {
  options.pool.keep_alive = std::chrono::milliseconds(1);
  const int port = start();
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", question("pico"))), "HAPPINESS");
  EXPECT_TRUE(becomes_true([&] { return loaded_names().empty(); }));
}

TEST_F(PoolTest, ManyAtOnceWhileModelsComeAndGo) {
  options.pool.keep_alive = std::chrono::milliseconds(0);
  const int port = start();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 3; ++k) {
        const std::string model = (i + k) % 2 == 0 ? "pico" : "pico:q8_0";
        EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", question(model))), "HAPPINESS");
      }
    });
  }
  threads.clear();
  EXPECT_TRUE(becomes_true([&] { return loaded_names().empty(); }));
}

TEST_F(PoolTest, RoomIsMadeByTheLeastRecentlyUsed) {
  ModelPool* seen = nullptr;
  int most = 1;  // models that there is room for
  PoolOptions room{.keep_alive = std::nullopt, .available_bytes = [&] {
                     int loaded = 0;
                     for (const ServedModel& model : seen->all())
                       loaded += seen->loaded(model);
                     return loaded < most ? int64_t{1} << 50 : 0;
                   }};
  ModelPool pool(std::move(models), room);
  seen = &pool;
  ServedModel &first = *pool.find("pico"), &second = *pool.find("pico:q8_0");
  {
    const ServedModels request(pool);
    request.find("pico");
    request.find("pico:latest");  // held once
    EXPECT_TRUE(pool.loaded(first));
    const ServedModels other(pool);
    try {
      other.find("pico:q8_0");
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
      EXPECT_THAT(error.what(), HasSubstr("no room"));
    }
    EXPECT_TRUE(pool.loaded(first));
  }
  {
    const ServedModels request(pool);
    request.find("pico:q8_0");
    EXPECT_FALSE(pool.loaded(first));
    EXPECT_TRUE(pool.loaded(second));
  }
  most = 2;
  {
    const ServedModels request(pool);
    request.find("pico");
    EXPECT_TRUE(pool.loaded(first) && pool.loaded(second));
  }
}

TEST_F(PoolTest, AModelThatCannotBeLoadedHarmsNoOther) {
  ServedModel gone{"gone", nullptr};
  gone.spec.model = "/missing/model";
  gone.on_demand = true;
  models.push_back(std::move(gone));
  const int port = start();
  for (int i = 0; i < 2; ++i)
    EXPECT_GE(post(port, "/v1/chat/completions", question("gone")).status, 400);
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", question("pico"))), "HAPPINESS");
  EXPECT_EQ(loaded_names(), std::vector<std::string>{"pico"});
}

}  // namespace
}  // namespace minicpm::server
