// `minicpm batch` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "e2e/process.h"
#include "server/api_support.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;
using e2e::Outcome;
using ::testing::HasSubstr;

class BatchTest : public ::testing::Test {
 protected:
  BatchTest() {
    std::string form = (fs::temp_directory_path() / "minicpm-batch-XXXXXX").string();
    folder = mkdtemp(form.data());
    requests = folder / "requests.jsonl";
    answers = folder / "answers.jsonl";
  }
  ~BatchTest() override { fs::remove_all(folder); }

  static Json line(const std::string& id, const Json& body) {
    return {{"custom_id", id}, {"method", "POST"}, {"url", "/v1/chat/completions"}, {"body", body}};
  }
  void write(const std::vector<Json>& lines) const {
    std::ofstream out(requests);
    for (const Json& one : lines)
      out << one.dump() << "\n";
  }
  Outcome run(std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {"batch", requests, "-m", "pico", "-o", answers, "-t", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return e2e::minicpm(words, {.env = {{"MINICPM_MODELS", std::string(MINICPM_SOURCE_DIR) + "/models"}}});
  }
  std::string text() const {
    std::ifstream in(answers);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// Responses by custom_id.
  std::map<std::string, Json> responses() const {
    std::map<std::string, Json> result;
    for (const Json& one : lines_of(text())) {
      EXPECT_TRUE(one.at("error").is_null());
      EXPECT_TRUE(result.emplace(one.at("custom_id"), one.at("response")).second) << one;
    }
    return result;
  }

  fs::path folder, requests, answers;
};

std::string content(const Json& response) {
  EXPECT_EQ(response.at("status_code"), 200) << response;
  return response.at("body").at("choices").at(0).at("message").at("content");
}

TEST_F(BatchTest, AnswersAsTheServerDoesAndGoesOnWhereItWas) {
  std::vector<Json> lines;
  const auto pictures = known_pictures();
  for (size_t i = 0; i < 6; ++i)
    lines.push_back(
        line("p" + std::to_string(i), openai_question({image_part(pictures[i].bytes), text_part("What do you see?")})));
  Json other_model = openai_question("Hello");
  other_model["model"] = "gpt-of-somebody";
  lines.push_back(line("other", other_model));
  Json unknown = openai_question("Hello");
  unknown["temprature"] = 1;
  lines.push_back(line("unknown", unknown));
  Json streamed = openai_question("Hello");
  streamed["stream"] = true;
  lines.push_back(line("streamed", streamed));
  write(lines);

  const Outcome first = run({"--json", "--parallel", "4"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(parse_json(first.out, "out"),
            (Json{{"total", 9}, {"skipped", 0}, {"answered", 7}, {"failed", 2}, {"out", answers.string()}}));
  auto all = responses();
  ASSERT_EQ(all.size(), 9u);
  for (size_t i = 0; i < 6; ++i)
    EXPECT_THAT(content(all["p" + std::to_string(i)]), HasSubstr(pictures[i].answer));
  EXPECT_EQ(all["other"]["body"]["model"], "pico");
  EXPECT_EQ(all["unknown"]["status_code"], 400);
  EXPECT_THAT(all["unknown"]["body"]["error"]["message"].get<std::string>(), HasSubstr("temprature"));
  EXPECT_EQ(all["streamed"]["status_code"], 400);

  // The last line is cut off, as by a full disk: it is asked again, the others are not.
  const std::string before = text();
  const size_t last = before.rfind('\n', before.size() - 2) + 1;
  std::ofstream(answers) << before.substr(0, last + 20);
  const Outcome second = run({"--json"});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(parse_json(second.out, "out")["skipped"], 8);
  EXPECT_TRUE(text().starts_with(before.substr(0, last)));
  EXPECT_EQ(responses().size(), 9u);
  EXPECT_THAT(run().err, HasSubstr("9 answered before"));
}

TEST_F(BatchTest, MediaIsDecodedInTheSandbox) {
  const KnownPicture picture = known_pictures()[0];
  write({line("good", openai_question({image_part(picture.bytes), text_part("What do you see?")})),
         line("bad", openai_question({image_part(picture.bytes.substr(0, 60)), text_part("What do you see?")}))});
  std::string expected;
  for (const char* sandbox : {"on", "off"}) {
    fs::remove(answers);
    const Outcome outcome = run({"--sandbox", sandbox});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    auto all = responses();
    EXPECT_EQ(content(all["good"]), picture.answer);
    EXPECT_EQ(all["bad"]["status_code"], 400);
    const std::string message = all["bad"]["body"]["error"]["message"];
    EXPECT_EQ(message, expected.empty() ? message : expected);
    expected = message;
  }
}

TEST_F(BatchTest, WrongFilesAreNamedByLineBeforeAnythingIsAnswered) {
  const auto refused = [&](const std::string& file, const std::string& sentence) {
    std::ofstream(requests) << line("a", openai_question("Hello")).dump() << "\n\n" << file << "\n";
    const Outcome outcome = run();
    EXPECT_EQ(outcome.exit_code, 4) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("line 3"));
    EXPECT_THAT(outcome.err, HasSubstr(sentence));
    EXPECT_EQ(text(), "");
  };
  refused("{", "not valid JSON");
  refused("[]", "custom_id");
  refused(R"({"custom_id": 3, "method": "POST", "url": "/v1/chat/completions", "body": {}})", "custom_id");
  refused(R"({"custom_id": "", "method": "POST", "url": "/v1/chat/completions", "body": {}})", "custom_id");
  refused(R"({"custom_id": "b", "method": "GET", "url": "/v1/chat/completions", "body": {}})", "method");
  refused(R"({"custom_id": "b", "method": "POST", "url": "/api/chat", "body": {}})", "url");
  refused(R"({"custom_id": "b", "method": "POST", "url": "/v1/chat/completions", "body": []})", "body");
  refused(line("a", openai_question("Hello")).dump(), "twice");
  write({line("a", openai_question("Hello"))});
  std::ofstream(answers) << "words\n";
  EXPECT_EQ(run().exit_code, 4);
  fs::remove(requests);
  EXPECT_EQ(run().exit_code, 3);
}

}  // namespace
}  // namespace minicpm::server
