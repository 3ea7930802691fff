// Files that are missing, damaged or of the wrong kind: one line, the right exit code, at once.
#include <unistd.h>

#include <array>

#include "base/json.h"
#include "e2e/support.h"

namespace minicpm::e2e {
namespace {

namespace fs = std::filesystem;

class BadFilesTest : public ModelTest {
 protected:
  Outcome ask(const std::string& model, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"run", model, "-p", "x", "-n", "2"};
    words.insert(words.end(), more.begin(), more.end());
    return minicpm(words);
  }
  /// A copy of the model folder that a test may damage.
  std::string copy_hf() {
    fs::copy(hf_, path("model"), fs::copy_options::recursive);
    return path("model");
  }
  /// The first `count` bytes of a file.
  std::string truncated(const std::string& file, size_t count) {
    return write("cut" + fs::path(file).extension().string(), read_all(file).substr(0, count));
  }
};

uint32_t crc32_of(const std::string& bytes) {
  uint32_t crc = ~0u;
  for (char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

std::string big_endian(uint32_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8)
    text += static_cast<char>(value >> shift);
  return text;
}

/// A PNG that ends after a header of that size.
std::string png_header(uint32_t width, uint32_t height) {
  const std::string header = "IHDR" + big_endian(width) + big_endian(height) + std::string("\x08\x02\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + big_endian(13) + header + big_endian(crc32_of(header));
}

TEST_F(BadFilesTest, ModelsThatAreNone) {
  expect_error(ask(path("absent")), 3, "absent");
  expect_error(ask(path("absent.gguf")), 3, "absent.gguf");
  expect_error(ask(write("empty.gguf", "")), 4, "empty.gguf");
  expect_error(ask(write("text.gguf", "this is no model")), 4, "text.gguf");
  fs::create_directory(path("folder"));
  expect_error(ask(path("folder")), 3, "config.json");
  expect_error(ask(hf_ + "/config.json"), 4, "config.json");
  expect_error(ask("/dev/null"), 4, "/dev/null");
  for (const std::string verb : {"inspect", "plan", "bench"}) {
    expect_error(minicpm({verb, path("absent")}), 3, "absent");
    expect_error(minicpm({verb, path("empty.gguf")}), 4, "empty.gguf");
  }
  expect_error(minicpm({"tokenize", path("absent"), "-p", "x"}), 3, "absent");
}

TEST_F(BadFilesTest, TruncatedGguf) {
  const size_t size = fs::file_size(gguf_);
  for (size_t count : {size_t{4}, size_t{20}, size_t{100}, size_t{3000}, size / 2, size - 1}) {
    SCOPED_TRACE(count);
    expect_error(ask(truncated(gguf_, count)), 4, "cut.gguf");
    expect_error(minicpm({"inspect", path("cut.gguf")}), 4, "cut.gguf");
  }
}

TEST_F(BadFilesTest, WrongMagicAndVersion) {
  std::string content = read_all(gguf_);
  content[0] = 'X';
  expect_error(ask(write("magic.gguf", content)), 4, "magic.gguf");
  content[0] = 'G';
  content[4] = 99;
  expect_error(ask(write("version.gguf", content)), 4, "99");
}

TEST_F(BadFilesTest, TruncatedSafetensors) {
  const std::string model = copy_hf();
  const std::string weights = model + "/model.safetensors";
  const size_t size = fs::file_size(weights);
  for (size_t count : {size - 1, size / 2, size_t{500}, size_t{8}, size_t{3}, size_t{0}}) {
    SCOPED_TRACE(count);
    fs::resize_file(weights, count);
    expect_error(ask(model), 4, "model.safetensors");
    expect_error(minicpm({"inspect", model}), 4, "model.safetensors");
  }
  fs::remove(weights);
  expect_error(ask(model), 3, "safetensors");
}

TEST_F(BadFilesTest, MissingAndDamagedTokenizer) {
  const std::string model = copy_hf();
  const std::string tokenizer = model + "/tokenizer.json";
  const std::string content = read_all(tokenizer);
  fs::remove(tokenizer);
  expect_error(ask(model), 3, "tokenizer");
  write("model/tokenizer.json", content.substr(0, content.size() / 2));
  expect_error(ask(model), 4, "tokenizer.json");
  write("model/tokenizer.json", "{}");
  expect_error(ask(model), 4, "tokenizer.json");
  expect_error(minicpm({"tokenize", model, "-p", "x"}), 4, "tokenizer.json");
}

TEST_F(BadFilesTest, DamagedConfig) {
  const std::string model = copy_hf();
  const Json good = parse_json(read_all(model + "/config.json"), "config.json");
  const auto try_config = [&](const Json& config) {
    write("model/config.json", config.dump());
    return ask(model);
  };
  write("model/config.json", "{\"model_type\": ");
  expect_error(ask(model), 4, "config.json");
  Json config = good;
  config["model_type"] = "gpt2";
  expect_error(try_config(config), 4, "gpt2");
  config = good;
  config["num_hidden_layers"] = 1'000'000;
  expect_error(try_config(config), 4, "");
  config = good;
  config["hidden_size"] = -1;
  expect_error(try_config(config), 4, "-1");
  config = good;
  config["hidden_size"] = "wide";
  expect_error(try_config(config), 4, "hidden_size");
  config = good;
  config["hidden_size"] = good["hidden_size"].get<int64_t>() * 2;
  expect_error(try_config(config), 4, "");
}

TEST_F(BadFilesTest, ProjectorOfAnotherModel) {
  const std::string projector = find_gguf(fs::path(other_).parent_path(), true);
  expect_error(ask(gguf_, {"--mmproj", projector}), 4, "projector");
  expect_error(ask(gguf_, {"--mmproj", path("none.gguf")}), 3, "none.gguf");
  expect_error(ask(gguf_, {"--mmproj", gguf_}), 4, "");
  expect_error(ask(hf_, {"--mmproj", projector}), 2, "folder");
}

TEST_F(BadFilesTest, Pictures) {
  const auto see = [&](const std::string& file) { return ask(hf_, {"--image", file}); };
  expect_error(see(path("absent.png")), 3, "absent.png");
  expect_error(see(write("text.jpg", "this is text")), 4, "text.jpg");
  expect_error(see(write("empty.png", "")), 4, "empty.png");
  expect_error(see(write("vast.png", png_header(65535, 65535))), 4, "vast.png");
  expect_error(see(write("vast2.png", png_header(0x7fffffff, 0x7fffffff))), 4, "vast2.png");
  expect_error(see(write("cut.png", png_header(64, 64))), 4, "cut.png");
  const std::string picture = read_all(write_picture("good.bmp", 50, 50));
  expect_error(see(write("cut.bmp", picture.substr(0, picture.size() / 2))), 4, "cut.bmp");
  fs::create_directory(path("folder.png"));
  expect_error(see(path("folder.png")), 5, "folder.png");
  expect_error(minicpm({"run", hf_, "-p", "x", "--image", "-"}, {.input = "no picture"}), 4, "standard input");
}

TEST_F(BadFilesTest, UnreadableFiles) {
  if (geteuid() == 0) GTEST_SKIP() << "nothing is unreadable for root";
  const std::string picture = write_picture("secret.bmp", 5, 5);
  fs::permissions(picture, fs::perms::none);
  expect_error(ask(hf_, {"--image", picture}), 5, "secret.bmp");
}

TEST_F(BadFilesTest, QuestionFiles) {
  expect_error(minicpm({"run", hf_, "-f", path("absent.txt")}), 3, "absent.txt");
  expect_error(minicpm({"run", hf_, "-f", write("empty.txt", "")}), 2, "empty");
  expect_error(minicpm({"run", hf_, "-p", "-"}), 2, "empty");
}

TEST_F(BadFilesTest, RequestsThatDoNotFit) {
  std::string long_text;
  for (int i = 0; i < 3000; ++i)
    long_text += "word ";
  expect_error(minicpm({"run", hf_, "-c", "256", "-f", write("long.txt", long_text)}), 2, "256");
  expect_error(ask(hf_, {"-c", "100000000"}), 2, "context");
}

TEST_F(BadFilesTest, Cases) {
  expect_error(minicpm({"verify", path("absent")}), 3, "absent");
  fs::create_directory(path("none"));
  expect_error(minicpm({"verify", path("none")}), 3, "none");
  write("case.json", R"({"case": "v99-full"})");
  expect_error(minicpm({"verify", folder_.string()}), 4, "v99-full");
}

TEST_F(BadFilesTest, AFailedCheckHasItsOwnCode) {
  const fs::path sampling = fs::path(MINICPM_SOURCE_DIR) / "tests/golden/sampling";
  for (const auto& entry : fs::directory_iterator(sampling)) {
    write(entry.path().filename().string(), read_all(entry.path()));
  }
  const Outcome good = minicpm({"verify", folder_.string()});
  expect_ok(good);
  EXPECT_TRUE(good.out.ends_with(" passed, 0 failed\n")) << good.out;
  std::string text = read_all(folder_ / "case.json");
  const size_t at = text.find("\"temperature\": 0.7");
  ASSERT_NE(at, std::string::npos);
  write("case.json", text.replace(at, 18, "\"temperature\": 0.8"));
  const Outcome bad = minicpm({"verify", folder_.string()});
  EXPECT_EQ(bad.exit_code, 9);
  EXPECT_THAT(bad.out, ::testing::HasSubstr("FAIL"));
  EXPECT_EQ(minicpm({"verify", "--json", folder_.string()}).exit_code, 9);
}

}  // namespace
}  // namespace minicpm::e2e
