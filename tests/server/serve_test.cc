// `minicpm serve` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "e2e/process.h"
#include "server/api_support.h"

namespace minicpm::server {
namespace {

using e2e::Outcome;
using e2e::Terminal;
using ::testing::HasSubstr;

const std::vector<std::pair<std::string, std::string>>& models() {
  static const std::vector<std::pair<std::string, std::string>> env = {
      {"MINICPM_MODELS", std::string(MINICPM_SOURCE_DIR) + "/models"}};
  return env;
}

/// The port in "http://127.0.0.1:PORT is ready".
int port_of(const std::string& screen) {
  const std::string start = "http://127.0.0.1:";
  const size_t at = screen.find(start);
  return at == std::string::npos ? 0 : std::atoi(screen.c_str() + at + start.size());
}

TEST(ServeTest, SaysWhereItIsAnswersAndEndsWithCtrlC) {
  const auto begin = std::chrono::steady_clock::now();
  Terminal program({"serve", "pico", "--port", "0", "-t", "1", "--no-state"}, models());
  ASSERT_TRUE(program.wait_for("is ready; open it in a browser, or try: curl http://127.0.0.1:")) << program.screen();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  ASSERT_TRUE(program.wait_for("\n"));
  const int port = port_of(program.screen());
  const Json body = openai_question({image_part(asset("word.png")), text_part("Read the text.")});
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", body)), "HAPPINESS");
  EXPECT_TRUE(program.wait_for("POST /v1/chat/completions 200")) << program.screen();
  program.type("\x03");
  EXPECT_EQ(program.wait_exit(), 0) << program.screen();
  EXPECT_THROW(Client{port}, std::runtime_error);
}

TEST(ServeTest, CtrlCEndsALongAnswerInTime) {
  Terminal program({"serve", "pico", "--port", "0", "--log", "off", "--no-state"}, models());
  ASSERT_TRUE(program.wait_for("is ready")) << program.screen();
  ASSERT_TRUE(program.wait_for("\n"));
  Client client(port_of(program.screen()));
  Json endless = openai_question("Hello");
  endless["stream"] = true;
  endless["min_tokens"] = endless["max_tokens"] = 1'000'000;
  client.send(request_text("POST", "/v1/chat/completions", endless.dump()));
  ASSERT_TRUE(client.wait_for("data: ")) << client.pending();
  program.type("\x03");
  const Reply reply = client.receive();  // to its end, or cut off with an error in the stream
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.complete);
  EXPECT_EQ(program.wait_exit(), 0) << program.screen();
}

TEST(ServeTest, WrongUsageIsOneSentence) {
  const auto refused = [](std::vector<std::string> words, int code, const std::string& text) {
    words.insert(words.begin(), {"serve", "--no-state"});
    const Outcome outcome = e2e::minicpm(words, {"", models()});
    EXPECT_EQ(outcome.exit_code, code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(outcome.err.starts_with("minicpm: ") && outcome.err.find('\n') == outcome.err.size() - 1)
        << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  const auto folder = std::filesystem::temp_directory_path() / ("minicpm-serve-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const std::string keys = folder / "keys";
  std::ofstream(keys) << "# none\n";
  chmod(keys.c_str(), 0644);
  refused({}, 2, "needs a MODEL");
  refused({"missing"}, 3, "missing");
  refused({"pico", "--host", "0.0.0.0"}, 8, "--api-key");
  refused({"pico", "--host", "example.org", "--insecure"}, 2, "no address to listen on");
  refused({"pico", "--port", "70000"}, 2, "--port must be between");
  refused({"pico", "--api-key", "short"}, 2, "API key");
  refused({"pico", "--api-key-file", "/missing"}, 3, "/missing");
  refused({"pico", "--api-key-file", keys}, 8, "chmod 600");
  chmod(keys.c_str(), 0600);
  refused({"pico", "--api-key-file", keys}, 2, "holds no key");
  refused({"pico", "--port", "0", "--tls-cert", keys}, 2, "both a certificate and its key");
  refused({"pico", "--port", "0", "--tls-cert", keys, "--tls-key", keys}, 4, "holds no certificate");
  refused({"pico", "--port", "0", "--tls-cert", keys, "--tls-key", keys, "--tls-self-signed"}, 2, "exclude each other");
  refused({"pico", "--state", folder}, 2, "exclude each other");
  refused({"pico", "pico", "--port", "0"}, 2, "both be called");
  refused({"pico", "pico:q8_0", "--mmproj", "x"}, 2, "single model");
  refused({"pico", "--lora", "x", "--lora", "y"}, 2, "only one adapter");
  refused({"pico", "--lora", "a b=x"}, 2, "NAME=DIR");
  refused({"pico", "--url-port", "8080"}, 2, "--allow-url");
  refused({"pico", "--media-path", "/missing"}, 3, "/missing");
  refused({"pico", "--config", "/missing"}, 3, "/missing");
  std::filesystem::remove_all(folder);
}

TEST(ServeTest, SettingsComeFromTheCommandLineThenTheEnvironmentThenAFile) {
  const auto folder = std::filesystem::temp_directory_path() / ("minicpm-settings-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const std::string file = folder / "minicpm.toml";
  const auto refused = [&](const std::string& text, std::vector<std::string> words,
                           std::vector<std::pair<std::string, std::string>> env, const std::string& sentence) {
    std::ofstream(file) << text;
    words.insert(words.begin(), {"serve", "pico"});
    env.insert(env.end(), models().begin(), models().end());
    const Outcome outcome = e2e::minicpm(words, {.env = env});
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_THAT(outcome.err, HasSubstr(sentence));
  };
  // A bad address tells whose word counted.
  const std::string text = "host = \"file.invalid\"\nport = 0\ninsecure = true\n";
  refused(text, {"--config", file}, {}, "file.invalid");
  refused(text, {}, {{"MINICPM_CONFIG", file}}, "file.invalid");
  refused(text, {"--config", file}, {{"MINICPM_HOST", "variable.invalid"}}, "variable.invalid");
  refused(text, {"--config", file, "--host", "flag.invalid"}, {{"MINICPM_HOST", "variable.invalid"}}, "flag.invalid");
  refused("", {"--insecure"}, {{"MINICPM_HOST", "variable.invalid"}}, "variable.invalid");
  // Switches and lists.
  refused(text, {"--config", file}, {{"MINICPM_INSECURE", "false"}}, "--api-key");
  refused("api-key = [\"long enough\", \"short\"]", {"--config", file}, {}, "chmod 600");
  chmod(file.c_str(), 0600);
  refused("api-key = [\"long enough\", \"short\"]", {"--config", file}, {}, "API key has 5 characters");
  refused("", {}, {{"MINICPM_API_KEY", "long enough,short"}}, "API key has 5 characters");
  // What is wrong is named with its place.
  refused("\nport = 70000", {"--config", file}, {}, file + ":2: --port must be between");
  refused("", {}, {{"MINICPM_PORT", "x"}}, "MINICPM_PORT: --port needs a whole number");
  refused("prot = 1", {"--config", file}, {}, file + ":1: prot is no option; did you mean port?");
  refused("insecure = 5", {"--config", file}, {}, "--insecure must be true or false");
  refused("port = [1]", {"--config", file}, {}, "takes one value, not an array");
  refused("sandbox = \"maybe\"", {"--config", file}, {}, "--sandbox must be one of on|off|auto");
  refused("config = \"x\"", {"--config", file}, {}, "config is no option");
  std::filesystem::remove_all(folder);
}

TEST(ServeTest, AFileOfSettingsIsEnough) {
  const auto folder = std::filesystem::temp_directory_path() / ("minicpm-file-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const std::string file = folder / "minicpm.toml";
  std::ofstream(file) << "threads = 1\nlog-format = \"json\"\nsandbox = \"on\"\n";
  Terminal program({"serve", "pico", "--port", "0", "--config", file}, models());
  ASSERT_TRUE(program.wait_for("is ready")) << program.screen();
  ASSERT_TRUE(program.wait_for("\n"));
  const Json body = openai_question({image_part(asset("word.png")), text_part("Read the text.")});
  EXPECT_EQ(openai_text(post(port_of(program.screen()), "/v1/chat/completions", body)), "HAPPINESS");
  EXPECT_TRUE(program.wait_for("\"status\":200")) << program.screen();
  program.type("\x03");
  EXPECT_EQ(program.wait_exit(), 0) << program.screen();
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace minicpm::server
