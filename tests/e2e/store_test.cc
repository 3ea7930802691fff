// pull, list, show, run and rm, as a user types them, against a hub of our own.
#include "e2e/support.h"
#include "io/file_choice.h"
#include "support/fake_hub.h"

namespace minicpm::e2e {
namespace {

using minicpm::testing::FakeHub;
using ::testing::HasSubstr;
using ::testing::Not;

class HubTest : public ModelTest {
 protected:
  Outcome ask(const std::vector<std::string>& words, const FakeHub& hub, const std::string& token = "") const {
    return minicpm(words, {.env = {{"HF_ENDPOINT", hub.url()},
                                   {"HF_HOME", (folder_ / "home").string()},
                                   {"HF_HUB_CACHE", ""},
                                   {"HF_HUB_OFFLINE", ""},
                                   {"HF_TOKEN", token},
                                   {"no_proxy", "127.0.0.1"}}});
  }
};

TEST_F(HubTest, AFolderFromPullToRemoval) {
  FakeHub hub("tiny/model-hf");
  hub.add_folder(hf_);
  const Outcome absent = ask({"run", "tiny/model-hf", "-p", "Hi"}, hub);
  expect_error(absent, 3, "`minicpm pull tiny/model-hf`");

  const Outcome pulled = ask({"pull", "tiny/model-hf", "--quiet"}, hub, "hf_secret");
  expect_ok(pulled);
  const std::string snapshot = path("home/hub/models--tiny--model-hf/snapshots/" + hub.commit);
  EXPECT_EQ(pulled.out, snapshot + "\n");
  const Outcome again = ask({"pull", "tiny/model-hf", "--json"}, hub, "hf_secret");
  expect_ok(again);
  EXPECT_EQ(parse_json(again.out, "pull")["fetched_bytes"], 0);

  const std::vector<std::string> question = {"-p", "What is this?", "--greedy", "-n", "8"};
  const auto run = [&](const std::string& model) {
    std::vector<std::string> words = {"run", model};
    words.insert(words.end(), question.begin(), question.end());
    return ask(words, hub);
  };
  const Outcome answer = run("tiny/model-hf");
  expect_ok(answer);
  EXPECT_EQ(answer.out, run(hf_).out);

  const Json list = parse_json(ask({"list", "--json"}, hub).out, "list");
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["name"], "tiny/model-hf");
  EXPECT_EQ(list[0]["kind"], "safetensors");
  EXPECT_EQ(list[0]["commit"], hub.commit);
  EXPECT_EQ(list[0]["path"], snapshot);
  EXPECT_THAT(ask({"list"}, hub).out, HasSubstr("tiny/model-hf  safetensors"));
  const Json facts = parse_json(ask({"show", "tiny/model-hf", "--json"}, hub).out, "show");
  EXPECT_EQ(facts["version"], "MiniCPM-V 4.5");
  EXPECT_EQ(facts["commit"], hub.commit);
  EXPECT_TRUE(facts["types"].contains("F32")) << facts["types"];
  EXPECT_THAT(ask({"show", "tiny/model-hf"}, hub).out, HasSubstr("MiniCPM-V 4.5"));

  expect_error(ask({"rm", "tiny/model-hf"}, hub), 2, "--yes");
  const Outcome removed = ask({"rm", "tiny/model-hf", "--yes"}, hub);
  EXPECT_EQ(removed.exit_code, 0) << removed.err;
  EXPECT_THAT(removed.err, HasSubstr("removed tiny/model-hf"));
  EXPECT_EQ(parse_json(ask({"list", "--json"}, hub).out, "list").size(), 0u);
  expect_error(ask({"rm", "tiny/model-hf", "--yes"}, hub), 3, "not in the store");
}

TEST_F(HubTest, AGgufModelByItsFormat) {
  FakeHub hub("tiny/model-gguf");
  hub.add_folder(std::filesystem::path(gguf_).parent_path());
  const std::string format = "tiny/model-gguf:" + format_of(gguf_);
  expect_ok(ask({"pull", format, "--quiet"}, hub));
  const auto run = [&](const std::string& model) {
    return ask({"run", model, "-p", "What?", "--greedy", "-n", "8", "--image", write_picture("a.bmp", 60, 40)}, hub);
  };
  const Outcome answer = run(format);
  expect_ok(answer);
  EXPECT_EQ(answer.out, run(gguf_).out);
  expect_error(ask({"run", "tiny/model-gguf:Q2_K", "-p", "Hi"}, hub), 3, "minicpm pull");
}

TEST_F(HubTest, ErrorsAreOneSentenceWithTheirCode) {
  FakeHub hub("tiny/model");
  hub.files = {{"config.json", "{}"}, {"model.safetensors", std::string(20'000, 'x'), true}};
  expect_error(ask({"pull", "not a name"}, hub), 2, "ORG/NAME");
  expect_error(ask({"pull", "tiny/other"}, hub), 3, "no such model");
  hub.hook = [](const auto&) { return minicpm::testing::http_reply(403, "", "X-Error-Code: GatedRepo\r\n"); };
  const Outcome gated = ask({"pull", "tiny/model"}, hub, "hf_secret");
  expect_error(gated, 8, "gated");
  EXPECT_THAT(gated.err, Not(HasSubstr("hf_secret")));
  hub.hook = [](const auto&) { return minicpm::testing::http_reply(418, ""); };
  expect_error(ask({"pull", "tiny/model"}, hub), 7, "418");
}

}  // namespace
}  // namespace minicpm::e2e
