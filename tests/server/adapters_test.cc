// Adapters that the name in a request chooses, and that come and go while the server runs.
#include <gmock/gmock.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "models/lora_writer.h"
#include "server/api_support.h"
#include "server/program.h"
#include "support/random_lora.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

/// An adapter of random numbers for pico: answers with it mean nothing.
void write_adapter(const fs::path& folder, unsigned seed) {
  LoraConfig config;
  config.r = 4;
  config.alpha = 64;
  config.base_model = "pico";
  const fs::path model = fs::path(MINICPM_SOURCE_DIR) / "models/pico/config.json";
  testing::RandomLora lora = testing::random_lora(read_hf_config(model, {}), config, seed);
  lora.adapter.config.alpha *= 32;  // so strong that no answer stays
  write_peft_adapter(folder, lora.adapter);
}

Json question(const std::string& model) {
  Json body = openai_question({image_part(asset("word.png")), text_part("Read the text.")});
  body["model"] = model;
  return body;
}

/// pico with adapters of a folder of its own.
class AdaptersTest : public ApiTest {
 protected:
  AdaptersTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder = fs::temp_directory_path() / (std::string("minicpm-") + test->name() + "-" + std::to_string(getpid()));
    fs::create_directories(folder);
    engine.backend.num_threads = 1;
    options.adapters = AdapterOptions{.make = [this](const AdapterSource& source) { return make(source); }};
    models.clear();
  }
  ~AdaptersTest() override {
    server.reset();
    fs::remove_all(folder);
  }

  ServedModel make(const AdapterSource& source) {
    ModelSpec spec{"pico", ""};
    spec.lora = source.folder.string();
    ServedModel model = load_served_model(spec, engine);
    if (!source.name.empty()) model.name += ":" + source.name;
    return model;
  }

  AdapterSource source(const std::string& name) const { return {name, folder / name}; }
  void add_model(const AdapterSource& from) { models.push_back(make_adapted(from, options.adapters->make)); }
  std::string answer(const std::string& model) {
    return openai_text(post(server->port(), "/v1/chat/completions", question(model)));
  }
  Reply load(const std::string& name, const std::string& path, bool in_place = false) {
    return post(server->port(), "/v1/load_lora_adapter",
                {{"lora_name", name}, {"lora_path", path}, {"load_inplace", in_place}});
  }
  Reply unload(const std::string& name) {
    return post(server->port(), "/v1/unload_lora_adapter", {{"lora_name", name}});
  }

  fs::path folder;
  EngineOptions engine;
};

std::vector<std::string> names(const Reply& list) {
  std::vector<std::string> names;
  const Json json = list.json();
  for (const Json& adapter : json)
    names.push_back(adapter["name"]);
  return names;
}

TEST_F(AdaptersTest, TheNameChoosesTheAdapter) {
  write_adapter(folder / "a", 1);
  write_adapter(folder / "b", 2);
  ServedProgram program({"pico", "-t", "1", "--lora", "a=" + (folder / "a").string(), "--lora",
                         "b=" + (folder / "b").string(), "--keep-alive", "300"});
  const auto answer = [&](const std::string& model) {
    return openai_text(post(program.port(), "/v1/chat/completions", question(model)));
  };
  const std::string a = answer("pico:a"), b = answer("pico:b");
  EXPECT_EQ(answer("pico"), "HAPPINESS");
  EXPECT_NE(a, "HAPPINESS");
  EXPECT_NE(b, a);
  EXPECT_EQ(answer("pico:a"), a);  // what was kept of others' prompts is not used
  EXPECT_EQ(get(program.port(), "/v1/models").json()["data"].size(), 3u);
  EXPECT_EQ(post(program.port(), "/v1/chat/completions", {{"model", "pico:c"}, {"messages", Json::array()}}).status,
            404);
}

TEST_F(AdaptersTest, TheFieldChoosesTheAdapter) {
  write_adapter(folder / "a", 1);
  add_model({});
  add_model(source("a"));
  const int port = start();
  const std::string a = answer("pico:a");
  Json body = question("pico");
  body["lora"] = "a";
  const Reply reply = post(port, "/v1/chat/completions", body);
  EXPECT_EQ(openai_text(reply), a);
  EXPECT_EQ(reply.json()["model"], "pico:a");
  body.erase("model");
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", body)), a);
  body["lora"] = nullptr;
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", body)), "HAPPINESS");

  const Json text = {{"prompt", "One two three"}, {"max_tokens", 8}, {"temperature", 0}};
  Json named = text, chosen = text;
  named["model"] = "pico:a";
  chosen["lora"] = "a";
  const std::string whole = post(port, "/v1/completions", named).json()["choices"][0]["text"];
  EXPECT_EQ(post(port, "/v1/completions", chosen).json()["choices"][0]["text"], whole);

  for (const char* path : {"/v1/chat/completions", "/v1/completions"}) {
    body["lora"] = "b";
    const Reply unknown = post(port, path, body);
    EXPECT_EQ(unknown.status, 404);
    const Json error = unknown.json()["error"];
    EXPECT_EQ(error["param"], "lora");
    EXPECT_EQ(error["code"], "lora_not_found");
    EXPECT_EQ(error["message"], "pico has no adapter \"b\"; known: a");
    body["lora"] = Json::array({{{"id", 0}, {"scale", 1.0}}});
    EXPECT_EQ(post(port, path, body).status, 400);
  }
}

TEST_F(AdaptersTest, ARequestKeepsTheAdapterItBeganWith) {
  write_adapter(folder / "a", 1);
  add_model({});
  add_model(source("a"));
  ModelPool pool(std::move(models), {});
  Adapters adapters(pool, *options.adapters);
  std::vector<std::string> lines;
  const auto log = [&](std::string_view line) { lines.emplace_back(line); };
  const auto logits = [&](const ServedModel& model) { return model.engine->hidden_state({1, 2, 3}, "", {}); };
  const std::vector<AdapterSource> wanted = {{}, source("a")};

  adapters.reload(wanted, log);
  EXPECT_THAT(lines, ElementsAre());
  const ServedModel* old = nullptr;
  {
    const ServedModels running(pool);
    old = &running.find("pico:a");
    const std::vector<float> before = logits(*old);
    write_adapter(folder / "a", 2);  // into the file that the running request uses
    adapters.reload(wanted, log);
    EXPECT_THAT(lines, ElementsAre(HasSubstr("adapter a is read from")));
    EXPECT_EQ(logits(*old), before);
    EXPECT_EQ(&running.find("pico:a"), old);
    const ServedModels next(pool);
    EXPECT_NE(&next.find("pico:a"), old);
    EXPECT_NE(logits(next.find("pico:a")), before);
    EXPECT_EQ(&next.find(""), &next.find("pico"));
    EXPECT_TRUE(pool.loaded(*old));
  }
  EXPECT_FALSE(pool.loaded(*old));  // gone with its last request
  adapters.reload(std::vector<AdapterSource>{{}}, log);
  EXPECT_EQ(lines.back(), "adapter a is gone");
  EXPECT_EQ(pool.find("pico:a"), nullptr);
}

TEST_F(AdaptersTest, ABadFolderLeavesTheOldAdapter) {
  write_adapter(folder / "a", 1);
  add_model({});
  add_model(source("a"));
  start();
  const std::string a = answer("pico:a");
  const std::vector<AdapterSource> wanted = {{}, source("a"), source("b")};
  const fs::path weights = folder / "a" / kLoraWeightsFile;
  fs::resize_file(weights, fs::file_size(weights) / 2);
  server->reload_adapters(wanted);
  EXPECT_EQ(answer("pico:a"), a);
  EXPECT_THAT(log(), HasSubstr("warning: adapter a cannot be used, so what was served stays: "));
  EXPECT_THAT(log(), HasSubstr("warning: adapter b cannot be used, so it is not served: "));
  fs::remove_all(folder / "a");
  server->reload_adapters(wanted);
  EXPECT_EQ(answer("pico:a"), a);
  write_adapter(folder / "a", 2);
  write_adapter(folder / "b", 3);
  server->reload_adapters(wanted);
  EXPECT_NE(answer("pico:a"), a);
  EXPECT_NE(answer("pico:b"), answer("pico:a"));
  // Without a name it is on the model itself, which stays the first.
  server->reload_adapters(std::vector<AdapterSource>{{"", folder / "a"}});
  EXPECT_NE(answer(""), "HAPPINESS");
  EXPECT_EQ(answer(""), answer("pico"));
  server->reload_adapters(std::vector<AdapterSource>{{}});
  EXPECT_EQ(answer(""), "HAPPINESS");
  EXPECT_EQ(get(server->port(), "/v1/models").json()["data"].size(), 1u);
}

TEST_F(AdaptersTest, RequestsLoadThemWhereThatIsAllowed) {
  write_adapter(folder / "own", 1);
  write_adapter(folder / "shared" / "a", 2);
  write_adapter(folder / "shared" / "b", 3);
  fs::create_directory_symlink(folder / "own", folder / "shared" / "link");
  options.adapters->folder = folder / "shared";
  add_model({});
  add_model(source("own"));
  const int port = start();
  EXPECT_EQ(load("x", "a").status, 200);
  EXPECT_EQ(load("y", (folder / "shared" / "b").string()).status, 200);
  const Json list = get(port, "/lora-adapters").json();
  EXPECT_THAT(names(get(port, "/lora-adapters")), ElementsAre("own", "x", "y"));
  EXPECT_EQ(list[1]["model"], "pico:x");
  EXPECT_EQ(list[1]["rank"], 4);
  EXPECT_EQ(list[1]["path"], "a");
  EXPECT_FALSE(list[0].contains("path"));  // lies elsewhere
  const std::string x = answer("pico:x"), y = answer("pico:y");
  EXPECT_NE(x, y);
  EXPECT_EQ(load("x", "b").status, 400);  // taken
  EXPECT_EQ(load("x", "b", true).status, 200);
  EXPECT_EQ(answer("pico:x"), y);
  for (const char* path : {"", ".", "..", "../own", "/", "/etc", "link", "missing", "a/../../own"}) {
    const Reply reply = load("z", path);
    EXPECT_EQ(reply.status, 400) << path;
    EXPECT_THAT(reply.body, Not(HasSubstr(folder.string())));
  }
  fs::remove(folder / "shared" / "a" / kLoraWeightsFile);
  EXPECT_EQ(load("z", "a").status, 400);
  EXPECT_THAT(load("z", "a").body, AllOf(HasSubstr("adapter_model.safetensors"), Not(HasSubstr(folder.string()))));
  EXPECT_EQ(load("a/b", "b").status, 400);
  EXPECT_EQ(unload("x").status, 200);
  EXPECT_EQ(unload("x").status, 404);
  EXPECT_EQ(unload("own").status, 403);
  EXPECT_EQ(unload("").status, 404);
  // What requests loaded stays when the settings are read again.
  server->reload_adapters(std::vector<AdapterSource>{{}, source("own")});
  EXPECT_THAT(names(get(port, "/lora-adapters")), ElementsAre("own", "y"));
}

TEST_F(AdaptersTest, RequestsLoadNothingUnlessThatIsAllowed) {
  write_adapter(folder / "a", 1);
  add_model({});
  add_model(source("a"));
  const int port = start();
  EXPECT_EQ(load("x", "a").status, 403);
  EXPECT_EQ(unload("a").status, 403);
  const Json list = get(port, "/lora-adapters").json();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_FALSE(list[0].contains("path"));
}

TEST_F(AdaptersTest, AHangupReadsTheSettingsAgain) {
  write_adapter(folder / "a", 1);
  write_adapter(folder / "b", 2);
  const std::string settings = folder / "minicpm.toml";
  const auto write = [&](const std::string& list) { std::ofstream(settings) << "lora = [" << list << "]\n"; };
  const auto entry = [&](const std::string& name) { return '"' + name + "=" + (folder / name).string() + '"'; };
  write(entry("a"));
  ServedProgram program({"pico", "-t", "1", "--config", settings});
  const auto becomes = [&](const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (program.log().find(text) == std::string::npos) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  };
  EXPECT_THAT(names(get(program.port(), "/lora-adapters")), ElementsAre("a"));
  write(entry("b"));
  program.signal(SIGHUP);
  EXPECT_TRUE(becomes("adapter a is gone")) << program.log();
  EXPECT_THAT(names(get(program.port(), "/lora-adapters")), ElementsAre("b"));
  std::ofstream(settings) << "lora = \n";
  program.signal(SIGHUP);
  EXPECT_TRUE(becomes("nothing is read again")) << program.log();
  EXPECT_THAT(names(get(program.port(), "/lora-adapters")), ElementsAre("b"));
  program.signal(SIGTERM);
  EXPECT_EQ(program.wait_exit(10), 0);
}

}  // namespace
}  // namespace minicpm::server
