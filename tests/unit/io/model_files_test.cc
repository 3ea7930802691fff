#include "io/model_files.h"

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
