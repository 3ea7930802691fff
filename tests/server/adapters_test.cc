// Adapters that the name in a request chooses.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "models/lora_writer.h"
#include "server/api_support.h"
#include "server/program.h"
#include "support/random_lora.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

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

TEST(AdaptersTest, TheNameChoosesTheAdapter) {
  const fs::path folder = fs::temp_directory_path() / ("minicpm-adapters-" + std::to_string(getpid()));
  fs::create_directories(folder);
  write_adapter(folder / "a", 1);
  write_adapter(folder / "b", 2);
  {
    ServedProgram program({"pico", "-t", "1", "--lora", "a=" + (folder / "a").string(), "--lora",
                           "b=" + (folder / "b").string(), "--keep-alive", "300"});
    const auto answer = [&](const std::string& model) {
      Json body = openai_question({image_part(asset("word.png")), text_part("Read the text.")});
      body["model"] = model;
      return openai_text(post(program.port(), "/v1/chat/completions", body));
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
  fs::remove_all(folder);
}

}  // namespace
}  // namespace minicpm::server
