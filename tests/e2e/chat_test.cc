// The chat: lines from a pipe, and a person at a terminal.
#include "base/json.h"
#include "e2e/support.h"

namespace minicpm::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ChatTest : public ModelTest {
 protected:
  std::vector<std::string> words(std::vector<std::string> more = {}) {
    std::vector<std::string> all = {"run", hf_, "--greedy", "-n", "6", "--min-tokens", "6"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

TEST_F(ChatTest, LinesFromAPipe) {
  const std::string saved = path("talk.json");
  const std::string picture = write_picture("p.bmp", 60, 40);
  const Outcome outcome = minicpm(words(), {.input = "/system Be brief.\nfirst\n\nlong \\\nline\n/image " + picture +
                                                     "\n/usr/bin is what?\n/save " + saved + "\n/quit\nnot read\n"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json messages = parse_json(read_all(saved), "talk.json").at("messages");
  std::vector<std::string> texts;
  for (const Json& message : messages) {
    if (message.at("role") == "user") texts.push_back(message.at("content").back().at("text").get<std::string>());
  }
  EXPECT_THAT(texts, ::testing::ElementsAre("first", "long \nline", "/usr/bin is what?"));
  EXPECT_EQ(messages.at(0).at("role"), "system");
  EXPECT_EQ(messages.at(5).at("content").at(0).at("path"), picture);
  EXPECT_FALSE(outcome.out.starts_with("> ")) << "no prompt without a terminal";
}

TEST_F(ChatTest, FirstAnswerIsThatOfOneShot) {
  EXPECT_EQ(minicpm(words(), {.input = "Hello\n"}).out, minicpm(words({"-p", "Hello"})).out);
  const std::string picture = write_picture("p.bmp", 60, 40);
  EXPECT_EQ(minicpm(words({"--image", picture}), {.input = "Hello"}).out,
            minicpm(words({"--image", picture, "-p", "Hello"})).out);
}

TEST_F(ChatTest, ResetForgets) {
  const std::string once = minicpm(words(), {.input = "Hello\n"}).out;
  EXPECT_EQ(minicpm(words(), {.input = "Hello\n/reset\nHello\n"}).out, once + once);
}

TEST_F(ChatTest, SaveAsMarkdown) {
  const std::string saved = path("talk.md");
  EXPECT_EQ(minicpm(words(), {.input = "Hello\n/save " + saved + "\n"}).exit_code, 0);
  EXPECT_THAT(read_all(saved), HasSubstr("## User\n\nHello\n\n## Assistant\n"));
  EXPECT_THAT(minicpm(words(), {.input = "/save talk.doc\n"}).err, HasSubstr(".md or .json"));
}

TEST_F(ChatTest, AScriptStopsAtTheFirstError) {
  const Outcome image = minicpm(words(), {.input = "/image " + path("absent.png") + "\nHello\n"});
  expect_error(image, 3, "absent.png");
  expect_error(minicpm(words(), {.input = "/dance\n"}), 2, "/dance");
  expect_error(minicpm(words(), {.input = "/think maybe\n"}), 2, "on or off");
  expect_error(minicpm(words(), {.input = "/image\n"}), 2, "needs a file");
}

TEST_F(ChatTest, EmptyInputIsAnEmptyChat) {
  const Outcome outcome = minicpm(words());
  expect_ok(outcome);
  EXPECT_EQ(outcome.out, "");
}

TEST_F(ChatTest, APersonAtATerminal) {
  const std::vector<std::pair<std::string, std::string>> env = {{"XDG_STATE_HOME", path("state")}};
  Terminal terminal(words(), env);
  ASSERT_TRUE(terminal.wait_for("/help lists the commands")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("/help\n");
  ASSERT_TRUE(terminal.wait_for("/reset")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("/nothing\n");
  ASSERT_TRUE(terminal.wait_for("minicpm: there is no command /nothing")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("Grüße\n");
  ASSERT_TRUE(terminal.wait_for("\n> ")) << terminal.screen();
  terminal.type("/save " + path("t.json") + "\n");
  ASSERT_TRUE(terminal.wait_for("saved to")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("\x04");  // Ctrl-D
  EXPECT_EQ(terminal.wait_exit(), 0) << terminal.screen();

  const Json saved = parse_json(read_all(path("t.json")), "t.json");
  EXPECT_EQ(saved.at("messages").at(0).at("content").at(0).at("text"), "Grüße");
  const fs::path history = folder_ / "state/minicpm/history";
  ASSERT_TRUE(fs::exists(history));
  EXPECT_EQ(fs::status(history).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(ChatTest, CtrlCTwiceAtThePromptEnds) {
  Terminal terminal(words(), {{"XDG_STATE_HOME", path("state")}});
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("half a li");
  ASSERT_TRUE(terminal.wait_for("half a li")) << terminal.screen();
  terminal.type("\x03");
  ASSERT_TRUE(terminal.wait_for("once more")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("\x03");
  EXPECT_EQ(terminal.wait_exit(), 130) << terminal.screen();
}

TEST_F(ChatTest, CtrlCEndsAnAnswerAndTheChatGoesOn) {
  Terminal terminal({"run", hf_, "--greedy", "-n", "8000", "--min-tokens", "8000"},
                    {{"XDG_STATE_HOME", path("state")}});
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("Hello\n");
  ASSERT_TRUE(terminal.wait_for("Hello\r\n")) << terminal.screen();
  const size_t before = terminal.screen().size();
  ASSERT_TRUE(terminal.wait_for("[")) << "the names of the toy tokens hold brackets: " << terminal.screen();
  EXPECT_GE(terminal.screen().size(), before);
  terminal.type("\x03");
  ASSERT_TRUE(terminal.wait_for("\n> ")) << terminal.screen();
  terminal.type("/quit\n");
  EXPECT_EQ(terminal.wait_exit(), 0) << terminal.screen();
}

}  // namespace
}  // namespace minicpm::e2e
