// run --session: what one run computed is there for the next.
#include <filesystem>

#include "base/json.h"
#include "e2e/support.h"

namespace minicpm::e2e {
namespace {

namespace fs = std::filesystem;

class SessionRunTest : public ModelTest {
 protected:
  std::vector<std::string> words(const std::string& model, const std::string& question,
                                 const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {"run", model, "--json", "-n", "8", "--greedy", "-p", question};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  Json run(const std::string& question, std::vector<std::string> more) const {
    more.insert(more.end(), {"--exact", "--kv-type", "f32"});
    const Outcome outcome = minicpm(words(hf_, question, more));
    expect_ok(outcome);
    return parse_json(outcome.out, "the output");
  }
};

TEST_F(SessionRunTest, TheNextRunReadsAlmostNothing) {
  const std::string picture = write_picture("p.bmp", 300, 200), session = path("kept");
  const auto ask = [&](const std::string& question, bool keeps) {
    std::vector<std::string> more = {"--image", picture};
    if (keeps) more.insert(more.end(), {"--session", session});
    return run(question, more);
  };
  const Json alone = ask("What is it?", false), first = ask("What is it?", true);
  EXPECT_EQ(first.at("tokens"), alone.at("tokens"));
  EXPECT_EQ(first.at("usage").at("cached_tokens"), 0);
  const Json again = ask("What is it?", true);
  EXPECT_EQ(again.at("tokens"), alone.at("tokens"));
  EXPECT_EQ(again.at("usage").at("cached_tokens").get<int64_t>(),
            again.at("usage").at("prompt_tokens").get<int64_t>() - 1);
  EXPECT_EQ(again.at("timings").at("vision_ms"), 0.0);  // nor is the picture encoded
  const Json other = ask("What colour has it?", true);
  EXPECT_GE(other.at("usage").at("cached_tokens"), other.at("usage").at("image_tokens"));
  EXPECT_EQ(other.at("tokens"), ask("What colour has it?", false).at("tokens"));
}

TEST_F(SessionRunTest, OtherFilesAreLeftAlone) {
  const std::string session = path("kept");
  run("Hello", {"--session", session});
  const std::string kept = read_all(session);
  expect_error(minicpm(words(gguf_, "Hello", {"--session", session})), 4, "another model");
  expect_error(minicpm(words(hf_, "Hello", {"--session", session})), 4, "another model");
  EXPECT_EQ(read_all(session), kept);
  const std::string letter = write("letter.txt", std::string(500, 'x'));
  expect_error(minicpm(words(hf_, "Hello", {"--session", letter})), 4, "no session file");
  EXPECT_EQ(read_all(letter), std::string(500, 'x'));
  fs::resize_file(session, kept.size() - 5);
  expect_error(minicpm(words(hf_, "Hello", {"--session", session})), 4, "cut off or damaged");
  expect_error(minicpm(words(hf_, "Hello", {"--session", path("missing") + "/kept"})), 3, "no such folder");
}

TEST_F(SessionRunTest, AChatIsKept) {
  const std::string session = path("kept");
  const Outcome chat = minicpm({"run", hf_, "-n", "4", "--greedy", "--exact", "--kv-type", "f32", "--session", session},
                               {"Hello there\n/quit\n"});
  EXPECT_EQ(chat.exit_code, 0) << chat.err;
  const Json next = run("Hello there", {"--session", session});
  EXPECT_EQ(next.at("usage").at("cached_tokens").get<int64_t>(),
            next.at("usage").at("prompt_tokens").get<int64_t>() - 1);
}

}  // namespace
}  // namespace minicpm::e2e
