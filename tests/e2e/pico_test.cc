// pico, the model that ships with the project, answers the questions of `make demo` rightly, and the whole way there:
// from the empty folder to both layouts under one name.
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "base/error.h"
#include "e2e/process.h"
#include "e2e/support.h"
#include "engine/chat.h"
#include "io/gguf.h"
#include "io/gguf_vocabulary.h"
#include "quant/format.h"

namespace minicpm::e2e {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = MINICPM_SOURCE_DIR;

/// A program of tools/ or recipes/.
Outcome tool(const std::string& name, const std::vector<std::string>& arguments) {
  const Outcome outcome = run_program((fs::path(minicpm_path()).parent_path() / name).string(), arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome;
}

std::vector<float> values_of(const StoredTensor& tensor) {
  const Weight& view = tensor.view;
  std::vector<float> values(static_cast<size_t>(view.rows() * view.cols()));
  for (int64_t r = 0; r < view.rows(); ++r)
    dequantize_row(view.dtype, view.row(r), values.data() + r * view.cols(), view.cols());
  return values;
}

ChatRequest question(const std::string& text, std::shared_ptr<const Image> image) {
  ChatRequest request;
  request.messages = {{"user", {ContentPart::from_image(std::move(image)), ContentPart::from_text(text)}}};
  request.sampling.do_sample = false;
  request.sampling.max_tokens = 12;
  return request;
}

std::vector<int32_t> answer(const std::string& model) {
  EngineOptions options;
  options.context_tokens = 1024;
  options.precision = Precision::kExact;
  options.kv_type = DType::kF32;
  auto image = std::make_shared<Image>(Image{260, 170, {}});
  for (uint32_t i = 0; i < 260 * 170 * 3; ++i)
    image->rgb.push_back(static_cast<uint8_t>((i / 90 * 2654435761u) >> 24));
  return Engine::load({model, ""}, options)->chat(question("What is this?", image)).tokens;
}

// ---- converting ----------------------------------------------------------------------------------------------------

class ConvertTest : public ModelTest {};

TEST_F(ConvertTest, GivesTheTensorsAndTheVocabularyOfTheOtherLayout) {
  tool("convert_checkpoint", {hf_, "--type", "F32", "--out", path("m.gguf")});
  const fs::path made = fs::path(gguf_).parent_path().parent_path() / "v45-gguf-f32";
  for (const bool projector : {false, true}) {
    const auto expected = GgufFile::open(find_gguf(made, projector));
    const auto converted = GgufFile::open(path(projector ? "mmproj-m.gguf" : "m.gguf"));
    ASSERT_EQ(converted->tensors().size(), expected->tensors().size());
    for (const StoredTensor& tensor : expected->tensors()) {
      const StoredTensor* other = converted->find(tensor.name);
      ASSERT_NE(other, nullptr) << tensor.name;
      EXPECT_TRUE(std::ranges::equal(other->view.shape(), tensor.view.shape())) << tensor.name;
      EXPECT_EQ(values_of(*other), values_of(tensor)) << tensor.name;
    }
    if (projector) continue;
    const GgufVocabulary a = read_vocabulary(*converted), b = read_vocabulary(*expected);
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.merges, b.merges);
    EXPECT_EQ(a.bos, b.bos);
    EXPECT_EQ(a.eos, b.eos);
  }
}

TEST_F(ConvertTest, AnswersLikeTheFolder) {
  tool("convert_checkpoint", {hf_, "--type", "F32", "--out", path("m.gguf")});
  EXPECT_EQ(answer(path("m.gguf")), answer(hf_));
}

TEST_F(ConvertTest, BlocksStayCloseToTheFloats) {
  tool("convert_checkpoint", {hf_, "--type", "Q8_0", "--mmproj-type", "Q8_0", "--out", path("m.gguf")});
  tool("convert_checkpoint", {hf_, "--type", "F32", "--out", path("f.gguf")});
  for (const char* prefix : {"", "mmproj-"}) {
    const auto blocks = GgufFile::open(path(prefix + std::string("m.gguf")));
    const auto floats = GgufFile::open(path(prefix + std::string("f.gguf")));
    int quantised = 0;
    for (const StoredTensor& tensor : floats->tensors()) {
      const StoredTensor& other = *blocks->find(tensor.name);
      quantised += other.view.dtype == DType::kQ8_0 ? 1 : 0;
      const std::vector<float> a = values_of(tensor), b = values_of(other);
      double error = 0, size = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        error += static_cast<double>(a[i] - b[i]) * (a[i] - b[i]);
        size += static_cast<double>(a[i]) * a[i];
      }
      EXPECT_LE(error, 1e-4 * size) << tensor.name;
    }
    EXPECT_GT(quantised, 10);
  }
}

// ---- the empty model -----------------------------------------------------------------------------------------------

class EmptyPicoTest : public E2eTest {
 protected:
  void SetUp() override {
    E2eTest::SetUp();
    folder_of_models_ = path("models");
    tool("make_pico", {"--model", (kSource / "recipes/pico/model.json").string(), "--words",
                       (kSource / "recipes/pico/words.txt").string(), "--random-weights", "3", "--out", pico()});
  }
  std::string pico() const { return folder_of_models_ + "/pico"; }
  std::string folder_of_models_;
};

TEST_F(EmptyPicoTest, BothLayoutsAnswerAlikeAndAreSmall) {
  tool("convert_checkpoint", {pico(), "--type", "F32", "--out", path("f/pico.gguf")});
  EXPECT_EQ(answer(path("f/pico.gguf")), answer(pico()));
  tool("convert_checkpoint", {pico(), "--type", "Q8_0", "--mmproj-type", "Q8_0", "--out", pico()});
  uintmax_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(pico()))
    bytes += entry.file_size();
  EXPECT_LE(bytes, 16'000'000u);
}

TEST_F(EmptyPicoTest, IsFoundByName) {
  tool("convert_checkpoint", {pico(), "--type", "Q8_0", "--mmproj-type", "Q8_0", "--out", pico()});
  const Setting setting{"", {{"MINICPM_MODELS", folder_of_models_}}};
  const std::vector<std::vector<std::string>> commands = {
      {"inspect"}, {"plan"}, {"tokenize", "-p", "What color?"}, {"detokenize", "104"}, {"run", "-n", "2", "-p", "hi"}};
  for (const std::string model : {"pico", "pico:q8_0"}) {
    for (std::vector<std::string> command : commands) {
      command.insert(command.begin() + 1, model);
      const Outcome outcome = minicpm(command, setting);
      EXPECT_EQ(outcome.exit_code, 0) << command[0] << " " << model << ": " << outcome.err;
    }
  }
  expect_error(minicpm({"inspect", "pico:q4_k"}, setting), 3, "ends in q4_k");
}

// ---- the trained model ---------------------------------------------------------------------------------------------

struct DemoLine {
  std::string title, files, question, answer;
};

std::vector<DemoLine> demo_lines(const std::string& model) {
  std::istringstream text(read_all(kSource / "assets" / model / "demo.tsv"));
  std::vector<DemoLine> lines;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream cells(line);
    DemoLine out;
    std::getline(cells, out.title, '\t');
    std::getline(cells, out.files, '\t');
    std::getline(cells, out.question, '\t');
    std::getline(cells, out.answer, '\t');
    if (out.question == "(spoken)") out.question.clear();
    for (size_t at; (at = out.answer.find("\\n")) != std::string::npos;)
      out.answer.replace(at, 2, "\n");
    lines.push_back(out);
  }
  return lines;
}

const Setting kShipped{"", {{"MINICPM_MODELS", (kSource / "models").string()}}};

/// `model` is a folder of assets, `words` what stands behind `run`.
void expect_right_answer(const std::string& model, const std::vector<std::string>& words, const DemoLine& line) {
  std::vector<std::string> command = {"run", "--greedy", "-n", "64", "-p", line.question};
  command.insert(command.begin() + 1, words.begin(), words.end());
  std::istringstream files(line.files);
  for (std::string file; files >> file;) {
    const bool video = file.ends_with(".mp4");
    const char* kind = video ? "--video" : file.ends_with(".wav") ? "--audio" : "--image";
    command.insert(command.end(), {kind, (kSource / "assets" / model / file).string()});
    if (video) command.insert(command.end(), {"--fps", "2"});
  }
  const Outcome outcome = minicpm(command, kShipped);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, line.answer + "\n") << line.title << ": " << line.question;
}

/// What stands behind `run`.
class PicoTest : public ::testing::TestWithParam<std::vector<std::string>> {};

TEST_P(PicoTest, AnswersTheQuestionsOfTheDemo) {
  const std::vector<DemoLine> lines = demo_lines("pico");
  ASSERT_EQ(lines.size(), 6u);
  for (const DemoLine& line : lines)
    expect_right_answer("pico", GetParam(), line);
}

TEST(PicoOTest, AnswersTheQuestionsOfTheDemo) {
  const std::vector<DemoLine> lines = demo_lines("pico-o");
  ASSERT_EQ(lines.size(), 3u);
  for (const DemoLine& line : lines)
    expect_right_answer("pico-o", {"pico-o"}, line);
}

TEST(PicoOTest, Transcribes) {
  const Outcome outcome = minicpm({"transcribe", "pico-o", (kSource / "assets/pico-o/command.wav").string()}, kShipped);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "get the small green window\n");
}

using Words = std::vector<std::string>;
INSTANTIATE_TEST_SUITE_P(Layouts, PicoTest, ::testing::Values(Words{"pico"}, Words{"pico:q8_0"}));
INSTANTIATE_TEST_SUITE_P(CacheTypes, PicoTest,
                         ::testing::Values(Words{"pico", "--cache-type", "f32"}, Words{"pico", "--cache-type", "bf16"},
                                           Words{"pico", "--cache-type", "q8_0"}));

INSTANTIATE_TEST_SUITE_P(Drafts, PicoTest,
                         ::testing::Values(Words{"pico", "--lookup"}, Words{"pico", "--draft", "pico:q8_0"},
                                           Words{"pico", "--lookup", "--draft", "pico", "--draft-tokens", "3"}));

}  // namespace
}  // namespace minicpm::e2e
