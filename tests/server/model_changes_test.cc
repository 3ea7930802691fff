// Models that clients fetch and delete, from a hub of our own.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>

#include "server/api_support.h"
#include "support/fake_hub.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;
using minicpm::testing::FakeHub;
using ::testing::HasSubstr;

class ModelChangesTest : public ApiTest {
 protected:
  ModelChangesTest() : hub("someone/small") {
    std::string form = (fs::temp_directory_path() / "minicpm-changes-XXXXXX").string();
    folder = mkdtemp(form.data());
    setenv("HF_HUB_CACHE", (folder / "hub").c_str(), 1);
    hub.add_folder(fs::path(MINICPM_SOURCE_DIR) / "models/pico");
    ModelChanges changes;
    changes.hub.endpoint = hub.url();
    changes.hub.cache = folder / "hub";
    changes.hub.attempts = 1;
    changes.describe = [](const std::string& name) {
      EngineOptions engine;
      engine.backend.num_threads = 1;
      return describe_served_model({name, ""}, engine);
    };
    options.changes = std::move(changes);
    options.pool.grows = true;
    options.pool.keep_alive = std::nullopt;
  }
  ~ModelChangesTest() override {
    server.reset();
    unsetenv("HF_HUB_CACHE");
    fs::remove_all(folder);
  }

  FakeHub hub;
  fs::path folder;
};

std::string read_word(int port, const std::string& model) {
  Json body = openai_question({image_part(asset("word.png")), text_part("Read the text.")});
  body["model"] = model;
  const Reply reply = post(port, "/v1/chat/completions", body);
  return reply.status == 200 ? openai_text(reply) : std::to_string(reply.status);
}

TEST_F(ModelChangesTest, AModelIsFetchedUsedAndDeleted) {
  const int port = start();
  EXPECT_EQ(read_word(port, "someone/small"), "404");
  const Reply pulled = post(port, "/api/pull", {{"model", "someone/small"}});
  ASSERT_EQ(pulled.status, 200) << pulled.body;
  const auto lines = lines_of(pulled.body);
  ASSERT_GE(lines.size(), 3u);
  EXPECT_EQ(lines.front()["status"], "pulling manifest");
  EXPECT_EQ(lines.back()["status"], "success");
  const Json& last = lines[lines.size() - 2];
  EXPECT_EQ(last["status"], "pulling someone/small");
  EXPECT_EQ(last["completed"], last["total"]);
  EXPECT_GT(last["total"], 100'000);

  const Json shown = post(port, "/api/show", {{"model", "someone/small"}}).json();
  EXPECT_THAT(shown["capabilities"].dump(), HasSubstr("vision"));
  EXPECT_GT(shown["model_info"]["v45.context_length"], 1000);
  EXPECT_EQ(get(port, "/api/ps").json()["models"].size(), 1u);  // pico of the start: nothing was loaded to be shown
  const Json props = get(port, "/props").json();
  ASSERT_EQ(props["models"].size(), 2u);
  EXPECT_EQ(props["models"][0]["loaded"], true);
  EXPECT_EQ(props["models"][1]["loaded"], false);
  EXPECT_EQ(props["models"][1]["defaults"], props["models"][0]["defaults"]);
  EXPECT_EQ(read_word(port, "someone/small"), "HAPPINESS");
  EXPECT_EQ(get(port, "/api/ps").json()["models"].size(), 2u);

  const Reply deleted = ask(port, "DELETE", "/api/delete", R"({"model": "someone/small:latest"})");
  EXPECT_EQ(deleted.status, 200) << deleted.body;
  EXPECT_EQ(read_word(port, "someone/small"), "404");
  EXPECT_EQ(get(port, "/api/tags").json()["models"].size(), 1u);
  EXPECT_FALSE(fs::exists(folder / "hub/models--someone--small"));
  EXPECT_EQ(ask(port, "DELETE", "/api/delete", R"({"model": "someone/small"})").status, 404);
  EXPECT_EQ(ask(port, "DELETE", "/api/delete", R"({"model": "pico"})").status, 400);

  EXPECT_EQ(post(port, "/api/pull", {{"model", "someone/small"}, {"stream", false}}).json(),
            (Json{{"status", "success"}}));
  EXPECT_EQ(read_word(port, "someone/small"), "HAPPINESS");
}

TEST_F(ModelChangesTest, FailuresAreTold) {
  const int port = start();
  EXPECT_EQ(post(port, "/api/pull", {{"model", "llama3"}}).status, 400);
  EXPECT_EQ(post(port, "/api/pull", {{"model", "a/../b"}}).status, 400);
  EXPECT_EQ(post(port, "/api/pull", Json::object()).status, 400);
  const Reply missing = post(port, "/api/pull", {{"model", "someone/other"}, {"stream", false}});
  EXPECT_EQ(missing.status, 404) << missing.body;
  const auto lines = lines_of(post(port, "/api/pull", {{"model", "someone/other"}}).body);
  EXPECT_THAT(lines.back()["error"].get<std::string>(), HasSubstr("someone/other"));
  for (const char* path : {"/api/copy", "/api/create", "/api/push"}) {
    const Reply reply = post(port, path, {{"model", "pico"}});
    EXPECT_EQ(reply.status, 400);
    EXPECT_THAT(reply.body, HasSubstr(path));
  }
}

TEST_F(ModelChangesTest, OnlyWhereItIsAllowed) {
  options.changes.reset();
  const int port = start();
  for (const Reply& reply : {post(port, "/api/pull", {{"model", "someone/small"}}),
                             ask(port, "DELETE", "/api/delete", R"({"model": "pico"})")}) {
    EXPECT_EQ(reply.status, 403);
    EXPECT_THAT(reply.body, HasSubstr("--allow-pull"));
  }
  EXPECT_TRUE(hub.server().requests().empty());
}

TEST_F(ModelChangesTest, AModelThatIsUsedStays) {
  ModelPool pool({}, options.pool);
  pool.add(describe_served_model({"pico", ""}, {}));
  pool.add(describe_served_model({"pico", ""}, {}));
  EXPECT_EQ(pool.all().size(), 1u);
  ServedModel& model = *pool.find("pico");
  {
    const ServedModels request(pool);
    request.find("");
    EXPECT_FALSE(pool.remove(model));
  }
  EXPECT_TRUE(pool.remove(model));
  EXPECT_EQ(pool.find("pico"), nullptr);
  EXPECT_EQ(pool.find(""), nullptr);
  EXPECT_FALSE(pool.acquire(model, nullptr));
  pool.add(describe_served_model({"pico", ""}, {}));
  const ServedModels request(pool);
  EXPECT_NE(request.find("pico").engine, nullptr);
}

}  // namespace
}  // namespace minicpm::server
