#include "io/model_files.h"

#include <stdlib.h>

#include <optional>

#include "io_test_util.h"

namespace minicpm {
namespace {

using namespace testing_io;
using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

TEST(ModelFiles, HuggingFaceFolder) {
  const TempFolder folder;
  write_text(folder / "config.json", "{}");
  const ModelFiles files = find_model_files(folder.path().string(), "");
  EXPECT_EQ(files.kind, ModelFiles::Kind::kHuggingFace);
  EXPECT_EQ(files.folder, folder.path());
  EXPECT_TRUE(files.gguf.empty() && files.mmproj.empty());
  EXPECT_THAT(
      error_message(ErrorCode::kInvalidRequest, [&] { find_model_files(folder.path().string(), "mmproj.gguf"); }),
      HasSubstr("is a folder"));
}

TEST(ModelFiles, FolderWithoutConfigNamesWhatWasLookedFor) {
  const TempFolder folder;
  const auto message = error_message(ErrorCode::kNotFound, [&] { find_model_files(folder.path().string(), ""); });
  EXPECT_THAT(message, AllOf(HasSubstr(folder.path().string()), HasSubstr("config.json"),
                             HasSubstr("model.safetensors.index.json")));
  write_text(folder / "model-Q4_K_M.gguf", "GGUF");
  write_text(folder / "mmproj.gguf", "GGUF");
  EXPECT_THAT(error_message(ErrorCode::kNotFound, [&] { find_model_files(folder.path().string(), ""); }),
              HasSubstr("it holds model-Q4_K_M.gguf"));
}

TEST(ModelFiles, MissingPathSaysWhatAModelMayBe) {
  for (const char* path : {"", "/nonexistent/model.gguf", "/nonexistent"}) {
    EXPECT_THAT(error_message(ErrorCode::kNotFound, [&] { find_model_files(path, ""); }),
                AllOf(HasSubstr(path), HasSubstr("a MODEL is a folder"), HasSubstr(".gguf")));
  }
}

/// Sets a variable of the environment for one test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { before_ ? setenv(name_, before_->c_str(), 1) : unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST(ModelFiles, NamesAreLookedUpInTheModelsFolder) {
  const TempFolder folder;
  const Variable models("MINICPM_MODELS", folder.path().string());
  const fs::path pair = folder / "spatula-9";
  fs::create_directories(pair);
  write_text(pair / "spatula-9-Q8_0.gguf", "GGUF");
  write_text(pair / "mmproj-spatula-9-Q8_0.gguf", "GGUF");
  write_text(pair / "mmproj-F16.gguf", "GGUF");
  // The only model of a folder without config.json, then one of several by its format.
  ModelFiles files = find_model_files("spatula-9", "");
  EXPECT_EQ(files.kind, ModelFiles::Kind::kGguf);
  EXPECT_EQ(files.gguf, pair / "spatula-9-Q8_0.gguf");
  EXPECT_EQ(files.mmproj, pair / "mmproj-spatula-9-Q8_0.gguf");
  write_text(pair / "spatula-9-BF16.gguf", "GGUF");
  write_text(pair / "config.json", "{}");
  files = find_model_files("spatula-9", "");
  EXPECT_EQ(files.kind, ModelFiles::Kind::kHuggingFace);
  EXPECT_EQ(files.folder, pair);
  EXPECT_EQ(find_model_files("spatula-9:q8_0", "").gguf, pair / "spatula-9-Q8_0.gguf");
  EXPECT_EQ(find_model_files("spatula-9:bf16", "").gguf, pair / "spatula-9-BF16.gguf");
  EXPECT_EQ(find_model_files("spatula-9:bf16", "").mmproj, pair / "mmproj-F16.gguf");
  EXPECT_THAT(error_message(ErrorCode::kNotFound, [] { find_model_files("spatula-9:F16", ""); }),
              AllOf(HasSubstr("spatula-9:F16"), HasSubstr("ends in F16"), HasSubstr("spatula-9-BF16.gguf")));
  for (const char* other : {"spatula-8", "spatula-9:", ":q8_0", "spatula-9/", "./spatula-9", "..", "", ":"}) {
    EXPECT_EQ(model_path(other), fs::path(other)) << other;
  }
}

TEST(ModelFiles, APathGoesBeforeAName) {
  const TempFolder folder, here;
  const Variable models("MINICPM_MODELS", folder.path().string());
  fs::create_directories(folder / "spatula-9");
  write_text(folder / "spatula-9" / "config.json", "{}");
  const fs::path before = fs::current_path();
  fs::current_path(here.path());
  EXPECT_EQ(find_model_files("spatula-9", "").folder, folder / "spatula-9");
  fs::create_directories("spatula-9");
  write_text("spatula-9/config.json", "{}");
  EXPECT_EQ(find_model_files("spatula-9", "").folder, fs::path("spatula-9"));
  fs::current_path(before);
}

TEST(ModelFiles, OtherFilesAreRefused) {
  const TempFolder folder;
  write_text(folder / "model.gguf", "GGU");
  EXPECT_THAT(error_message(ErrorCode::kUnsupported, [&] { find_model_files((folder / "model.gguf").string(), ""); }),
              HasSubstr("is not a GGUF file"));
  EXPECT_THAT(error_message(ErrorCode::kUnsupported, [&] { find_model_files("/dev/null", ""); }),
              HasSubstr("is not a GGUF file"));
}

TEST(ModelFiles, ProjectorBesideTheModelIsFound) {
  const TempFolder folder;
  const auto model = folder / "model.gguf";
  write_text(model, "GGUF");
  const auto find = [&](const std::string& mmproj = "") { return find_model_files(model.string(), mmproj); };
  EXPECT_EQ(find().kind, ModelFiles::Kind::kGguf);
  EXPECT_EQ(find().gguf, model);
  EXPECT_TRUE(find().mmproj.empty());

  write_text(folder / "other.gguf", "GGUF");
  write_text(folder / "mmproj.txt", "");
  fs::create_directory(folder / "mmproj-a.gguf");
  EXPECT_TRUE(find().mmproj.empty());
  write_text(folder / "mmproj-model-Q8_0.gguf", "GGUF");
  write_text(folder / "mmproj-model-bf16.gguf", "GGUF");
  EXPECT_EQ(find().mmproj, folder / "mmproj-model-Q8_0.gguf");
  write_text(folder / "MMPROJ-model-F16.GGUF", "GGUF");
  EXPECT_EQ(find().mmproj, folder / "MMPROJ-model-F16.GGUF");
  write_text(folder / "mmproj-f16.gguf", "GGUF");
  EXPECT_EQ(find().mmproj, folder / "MMPROJ-model-F16.GGUF");  // upper case sorts first

  EXPECT_EQ(find((folder / "other.gguf").string()).mmproj, folder / "other.gguf");
  EXPECT_THAT(error_message(ErrorCode::kNotFound, [&] { find("/nonexistent/p.gguf"); }), HasSubstr("projector"));
}

TEST(ModelFiles, RelativePathWithoutFolder) {
  const TempFolder folder;
  write_text(folder / "model.gguf", "GGUF");
  write_text(folder / "mmproj.gguf", "GGUF");
  const auto before = fs::current_path();
  fs::current_path(folder.path());
  const ModelFiles files = find_model_files("model.gguf", "");
  EXPECT_TRUE(fs::exists(files.mmproj));
  fs::current_path(before);
}

}  // namespace
}  // namespace minicpm
