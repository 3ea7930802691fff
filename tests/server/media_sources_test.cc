// Media that requests name by URL or file, and media that is decoded in processes of its own.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "media/sandbox/sandbox.h"
#include "server/api_support.h"
#include "server/media_folder.h"
#include "support/fake_hub.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<MediaSandbox> product_sandbox(const SandboxLimits& limits = {}) {
  return MediaSandbox::start({.program = MINICPM_PROGRAM, .arguments = {"media-worker"}, .limits = limits});
}

Json url_part(const std::string& url) {
  return {{"type", "image_url"}, {"image_url", {{"url", url}}}};
}

Json word_question(const Json& picture) {
  return openai_question(Json::array({picture, text_part("Read the text.")}));
}

std::string refusal(const Reply& reply) {
  EXPECT_EQ(reply.status, 400) << reply.body;
  return reply.status == 400 ? reply.json()["error"]["message"].get<std::string>() : "";
}

class MediaFolderTest : public ApiTest {
 protected:
  MediaFolderTest() {
    fs::create_directories(folder_ / "in/sub");
    write("in/word.png", asset("word.png"));
    write("in/sub/a b.png", asset("word.png"));
    write("secret.png", asset("word.png"));
    write("inside.png", asset("word.png"));  // a neighbour whose name begins alike
    fs::create_symlink(folder_ / "secret.png", folder_ / "in/link.png");
    fs::create_symlink(folder_ / "in/word.png", folder_ / "in/good-link.png");
    fs::create_directory_symlink(folder_, folder_ / "in/up");
    mkfifo((folder_ / "in/fifo").c_str(), 0600);
  }
  ~MediaFolderTest() override {
    server.reset();
    fs::remove_all(folder_);
  }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  const fs::path folder_ = fs::canonical(fs::temp_directory_path()) / ("minicpm-media-" + std::to_string(getpid()));
};

TEST_F(MediaFolderTest, FilesInsideAreRead) {
  const MediaFolder media(folder_ / "in");
  const std::string word = asset("word.png");
  for (const std::string& name : {std::string("word.png"), std::string("sub/a b.png"), std::string("./sub/../word.png"),
                                  std::string("file://word.png"), std::string("file://sub/a%20b.png"),
                                  "file://" + (folder_ / "in/word.png").string()}) {
    EXPECT_EQ(media.read(name, 1u << 20), word) << name;
  }
}

TEST_F(MediaFolderTest, NothingElseIs) {
  const MediaFolder media(folder_ / "in");
  const std::pair<std::string, ErrorCode> cases[] = {
      {"../secret.png", ErrorCode::kRefused},
      {"sub/../../secret.png", ErrorCode::kRefused},
      {"file://../secret.png", ErrorCode::kRefused},
      {"file://%2e%2e/secret.png", ErrorCode::kRefused},
      {"file://..%2fsecret.png", ErrorCode::kRefused},
      {(folder_ / "secret.png").string(), ErrorCode::kRefused},
      {(folder_ / "in/word.png").string(), ErrorCode::kRefused},  // absolute without file://
      {"file://" + (folder_ / "secret.png").string(), ErrorCode::kRefused},
      {"file://" + (folder_ / "inside.png").string(), ErrorCode::kRefused},
      {"file://" + (folder_ / "in/../secret.png").string(), ErrorCode::kRefused},
      {"file:///etc/passwd", ErrorCode::kRefused},
      {"file:///proc/self/environ", ErrorCode::kRefused},
      {"link.png", ErrorCode::kRefused},
      {"good-link.png", ErrorCode::kRefused},
      {"up/secret.png", ErrorCode::kRefused},
      {"up/in/word.png", ErrorCode::kRefused},
      {"file://word.png%00.txt", ErrorCode::kRefused},
      {std::string("word.png\0", 9), ErrorCode::kRefused},
      {"", ErrorCode::kRefused},
      {"file://", ErrorCode::kRefused},
      {"missing.png", ErrorCode::kNotFound},
      {"word.png/x", ErrorCode::kNotFound},
      {std::string(5000, 'x'), ErrorCode::kNotFound},
      {"fifo", ErrorCode::kUnsupported},
      {"sub", ErrorCode::kUnsupported},
      {".", ErrorCode::kUnsupported},
  };
  for (const auto& [name, code] : cases) {
    try {
      media.read(name, 1u << 20);
      ADD_FAILURE() << name << " was read";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << name.substr(0, 100) << ": " << error.what();
      EXPECT_THAT(error.what(), Not(HasSubstr(folder_.string())));
    }
  }
  EXPECT_THROW(media.read("word.png", 10), Error);
  EXPECT_THROW(MediaFolder(folder_ / "missing"), Error);
  EXPECT_THROW(MediaFolder(folder_ / "secret.png"), Error);
}

TEST_F(MediaFolderTest, RequestsNameFiles) {
  options.sources.folder = std::make_shared<MediaFolder>(folder_ / "in");
  const int port = start();
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", word_question(url_part("file://word.png")))), "HAPPINESS");
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", word_question(url_part("sub/a b.png")))), "HAPPINESS");
  const Json anthropic = {
      {"model", "pico"},
      {"max_tokens", 20},
      {"temperature", 0},
      {"messages",
       Json::array(
           {{{"role", "user"},
             {"content", Json::array({{{"type", "image"}, {"source", {{"type", "url"}, {"url", "file://word.png"}}}},
                                      text_part("Read the text.")})}}})}};
  EXPECT_EQ(post(port, "/v1/messages", anthropic).json()["content"][0]["text"], "HAPPINESS");
  EXPECT_THAT(refusal(post(port, "/v1/chat/completions", word_question(url_part("file://../secret.png")))),
              HasSubstr("messages[0].content[0].image_url.url: leads out of the folder"));
  EXPECT_THAT(refusal(post(port, "/v1/chat/completions", word_question(url_part("ftp://x/y")))),
              HasSubstr("must be a data: URL"));
}

TEST_F(ApiTest, WithoutAFolderNoFilesAreNamed) {
  const int port = start();
  for (const char* url : {"file:///etc/passwd", "word.png", "/etc/passwd"}) {
    EXPECT_THAT(refusal(post(port, "/v1/chat/completions", word_question(url_part(url)))),
                HasSubstr("must be a data: URL"));
  }
}

TEST_F(ApiTest, UrlsAreFetchedWhereTheyMayBe) {
  const auto answer = [](const minicpm::testing::FakeRequest& request) {
    const std::string body = request.target == "/word.png" ? asset("word.png") : "no picture";
    return minicpm::testing::FakeReply{minicpm::testing::http_reply(200, body)};
  };
  minicpm::testing::FakeServer web(answer, INADDR_LOOPBACK + 1), trap(answer);
  hub::FetchOptions fetching;
  fetching.ports = {web.port(), trap.port()};
  fetching.known_names = {"pictures.example:" + std::to_string(web.port()) + ":127.0.0.2"};
  fetching.allowed = [](std::span<const uint8_t> address) { return address.size() == 4 && address[3] == 2; };
  options.sources.urls = fetching;
  const int port = start();
  const std::string base = "http://pictures.example:" + std::to_string(web.port());
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", word_question(url_part(base + "/word.png")))), "HAPPINESS");
  EXPECT_THAT(refusal(post(port, "/v1/chat/completions", word_question(url_part(base + "/text")))),
              HasSubstr("is not a picture"));
  const Reply inside = post(port, "/v1/chat/completions", word_question(url_part(trap.url() + "/word.png")));
  EXPECT_THAT(refusal(inside),
              HasSubstr("messages[0].content[0].image_url.url: this URL leads to an address that is not public"));
  EXPECT_EQ(inside.json()["error"]["code"], "url_not_fetched");
  EXPECT_EQ(web.requests().size(), 2u);
  EXPECT_TRUE(trap.requests().empty());
}

TEST_F(ApiTest, TheProgramsOwnSandboxDecodes) {
  options.decoder = product_sandbox();
  const int port = start();
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", word_question(image_part(asset("word.png"))))), "HAPPINESS");
  EXPECT_THAT(refusal(post(port, "/v1/chat/completions", word_question(image_part("GIF89a")))),
              HasSubstr("damaged GIF"));
  for (const KnownPicture& picture : known_pictures()) {
    const Json question = openai_question(Json::array({image_part(picture.bytes), text_part("What do you see?")}));
    EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", question)), picture.answer);
  }
}

TEST_F(ApiTest, ADecoderThatCannotWorkFailsItsRequestClearly) {
  options.decoder = std::shared_ptr<MediaDecoder>(MediaSandbox::start({.program = MINICPM_MEDIA_WORKER}).release());
  const int port = start();
  const Reply reply = post(port, "/v1/chat/completions", word_question(image_part("crash")));
  EXPECT_EQ(reply.status, 500);
  const Json error = reply.json()["error"];
  EXPECT_EQ(error["code"], "decoder_failed");
  EXPECT_EQ(error["param"], "messages[0].content[0].image_url.url");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("the decoder of this file failed"));
  EXPECT_EQ(openai_text(post(port, "/v1/chat/completions", word_question(image_part(asset("word.png"))))), "HAPPINESS");
}

}  // namespace
}  // namespace minicpm::server
