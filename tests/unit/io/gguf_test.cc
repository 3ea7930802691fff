#include "io/gguf.h"

#include <limits>
#include <random>

#include "base/log.h"
#include "io/gguf_vocabulary.h"
#include "io/memory_source.h"
#include "io_test_util.h"

namespace minicpm {
namespace {

using namespace testing_io;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> ramp(int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i % 97) * 0.03f - 1.4f;
  return values;
}

/// One tensor of every format GGUF can hold, as a source.
MemorySource every_format() {
  MemorySource source;
  for (const DTypeInfo& row : kDTypeInfo) {
    if (row.is_float || row.is_quantised) source.add(std::string(row.name), ramp(3 * 512), {3, 512}, row.dtype);
  }
  source.add("rank1", ramp(5), {5});
  source.add("rank4", ramp(2 * 3 * 4 * 5), {2, 3, 4, 5}, DType::kF16);
  return source;
}

void expect_same_tensors(const WeightSource& expected, const WeightSource& found) {
  ASSERT_EQ(expected.tensors().size(), found.tensors().size());
  for (size_t i = 0; i < expected.tensors().size(); ++i) {
    const StoredTensor &a = expected.tensors()[i], &b = found.tensors()[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(found.find(a.name), &b);
    EXPECT_EQ(a.view.dtype, b.view.dtype) << a.name;
    ASSERT_THAT(b.view.shape(), ::testing::ElementsAreArray(a.view.shape())) << a.name;
    EXPECT_EQ(std::memcmp(a.view.data, b.view.data, static_cast<size_t>(a.view.bytes())), 0) << a.name;
  }
}

TEST(Gguf, WriterAndReaderAgreeOnTensors) {
  const TempFolder folder;
  const MemorySource source = every_format();
  for (int64_t alignment : {8, 32, 256}) {
    GgufWriter writer;
    writer.set("general.alignment", {alignment, "u32"});
    for (const StoredTensor& tensor : source.tensors())
      writer.add_tensor(tensor.name, tensor.view);
    writer.write(folder / "a.gguf");
    const auto file = GgufFile::open(folder / "a.gguf");
    EXPECT_EQ(file->version(), 3);
    EXPECT_EQ(file->path(), (folder / "a.gguf").string());
    expect_same_tensors(source, *file);
    for (const StoredTensor& tensor : file->tensors())
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.view.data) % static_cast<uintptr_t>(alignment), 0u) << tensor.name;
    EXPECT_EQ(file->find("absent"), nullptr);
  }
}

TEST(Gguf, WriterAndReaderAgreeOnMetadata) {
  const TempFolder folder;
  const std::vector<std::pair<std::string, GgufValue>> metadata = {
      {"u8", {int64_t{255}, "u8"}},
      {"i8", {int64_t{-128}, "i8"}},
      {"u16", {int64_t{65535}, "u16"}},
      {"i16", {int64_t{-32768}, "i16"}},
      {"u32", {int64_t{4294967295}, "u32"}},
      {"i32", {int64_t{INT32_MIN}, "i32"}},
      {"i64", {int64_t{INT64_MIN}, "i64"}},
      {"u64", {int64_t{INT64_MAX}, "u64"}},
      {"big", {uint64_t{UINT64_MAX}, "u64"}},
      {"f32", {0.25, "f32"}},
      {"f64", {1e300, "f64"}},
      {"yes", {true, "bool"}},
      {"no", {false, "bool"}},
      {"text", {std::string("caf\xc3\xa9\0!", 7), "string"}},
      {"ints", {std::vector<int64_t>{-1, 0, 7}, "array of i16"}},
      {"bits", {std::vector<int64_t>{1, 0}, "array of bool"}},
      {"reals", {std::vector<double>{0.5, -2.0}, "array of f32"}},
      {"words", {std::vector<std::string>{"", "a", "bc"}, "array of string"}},
      {"none", {std::vector<std::string>{}, "array of string"}},
  };
  GgufWriter writer;
  writer.set_string("text", "to be replaced");
  for (const auto& [key, value] : metadata)
    writer.set(key, value);
  writer.write(folder / "a.gguf");

  const auto file = GgufFile::open(folder / "a.gguf");
  ASSERT_EQ(file->metadata().size(), metadata.size());
  for (const auto& [key, value] : metadata) {
    const GgufValue* found = file->find_value(key);
    ASSERT_NE(found, nullptr) << key;
    EXPECT_EQ(found->type_name, value.type_name) << key;
    EXPECT_EQ(found->value, value.value) << key;
  }
  EXPECT_EQ(file->metadata()[0].first, "text");  // replacing keeps the place
  EXPECT_EQ(file->find_int("i64"), INT64_MIN);
  EXPECT_EQ(file->find_number("u8"), 255.0);
  EXPECT_EQ(file->find_number("big"), static_cast<double>(UINT64_MAX));
  EXPECT_EQ(file->find_bool("yes"), true);
  EXPECT_EQ(file->find_string("absent"), std::nullopt);
  EXPECT_EQ(file->find_ints("absent"), nullptr);
  EXPECT_THAT(*file->find_ints("bits"), ElementsAre(1, 0));
  EXPECT_THAT(*file->find_numbers("reals"), ElementsAre(0.5, -2.0));
  EXPECT_TRUE(file->find_strings("none")->empty());
}

TEST(Gguf, WrongTypesAreNamed) {
  const TempFolder folder;
  GgufWriter writer;
  writer.set_string("word", "x");
  writer.set("big", {uint64_t{UINT64_MAX}, "u64"});
  writer.write(folder / "a.gguf");
  const auto file = GgufFile::open(folder / "a.gguf");
  const auto message = error_message(ErrorCode::kBadFile, [&] { file->find_int("word"); });
  EXPECT_THAT(message,
              AllOf(HasSubstr("a.gguf"), HasSubstr("\"word\""), HasSubstr("whole number"), HasSubstr("string")));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { file->find_int("big"); }), HasSubstr("u64"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { file->find_number("word"); }), HasSubstr("a number"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { file->find_bool("word"); }), HasSubstr("a bool"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { file->find_strings("word"); }), HasSubstr("array of strings"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { file->find_ints("word"); }), HasSubstr("array of whole"));
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { file->find_numbers("word"); }), HasSubstr("array of floats"));
}

TEST(Gguf, WriterRefusesWhatTheFormatCannotHold) {
  const TempFolder folder;
  const MemorySource source = every_format();
  const Weight f32 = source.find("F32")->view;
  const auto write_with = [&](auto change) {
    GgufWriter writer;
    change(writer);
    writer.write(folder / "a.gguf");
  };
  for (const GgufValue& value :
       {GgufValue{int64_t{256}, "u8"}, GgufValue{int64_t{-1}, "u32"}, GgufValue{1.0, "u32"}, GgufValue{true, "i8"},
        GgufValue{std::string("x"), "array of string"}, GgufValue{int64_t{1}, "nonsense"},
        GgufValue{int64_t{1}, "array"}, GgufValue{std::vector<int64_t>{1, 300}, "array of u8"},
        GgufValue{uint64_t{UINT64_MAX}, "i64"}}) {
    error_message(ErrorCode::kInvalidRequest, [&] { write_with([&](GgufWriter& w) { w.set("key", value); }); });
  }
  error_message(ErrorCode::kInvalidRequest, [&] {
    write_with([&](GgufWriter& w) {
      w.add_tensor("twice", f32);
      w.add_tensor("twice", f32);
    });
  });
  error_message(ErrorCode::kInvalidRequest, [&] {
    write_with([&](GgufWriter& w) { w.set("general.alignment", {int64_t{24}, "u32"}); });
  });
  Weight bytes = f32;
  bytes.dtype = DType::kU8;
  error_message(ErrorCode::kInvalidRequest, [&] { write_with([&](GgufWriter& w) { w.add_tensor("bytes", bytes); }); });
  Weight partial = source.find("Q4_K")->view;
  partial.dims[1] = 100;
  error_message(ErrorCode::kInvalidRequest, [&] { write_with([&](GgufWriter& w) { w.add_tensor("p", partial); }); });
  EXPECT_FALSE(std::filesystem::exists(folder / "a.gguf"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  error_message(ErrorCode::kNotFound, [&] { GgufWriter().write(folder / "no/such/folder.gguf"); });
}

TEST(Gguf, TensorsMayBeMadeWhileWriting) {
  const TempFolder folder;
  const std::vector<float> values = ramp(8);
  GgufWriter writer;
  writer.add_tensor({"piecewise", DType::kF32, {2, 4}, [&](const ByteSink& sink) {
                       sink(std::as_bytes(std::span(values).first(3)));
                       sink(std::as_bytes(std::span(values).subspan(3)));
                     }});
  writer.write(folder / "a.gguf");
  const auto file = GgufFile::open(folder / "a.gguf");
  const auto* data = static_cast<const float*>(file->find("piecewise")->view.data);
  EXPECT_THAT(std::vector<float>(data, data + 8), ::testing::ElementsAreArray(values));

  GgufWriter short_writer;
  short_writer.add_tensor({"short", DType::kF32, {2, 4}, [&](const ByteSink&) {}});
  error_message(ErrorCode::kInternal, [&] { short_writer.write(folder / "b.gguf"); });
  EXPECT_FALSE(std::filesystem::exists(folder / "b.gguf"));
}

TEST(Gguf, OpensReferenceFiles) {
  const auto folder = golden_folder() / "gguf";
  if (!std::filesystem::exists(folder / "models")) GTEST_SKIP() << "no reference data (set MINICPM_GOLDEN)";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "models")) {
    const auto file = GgufFile::open(entry.path());
    const auto architecture = file->find_string("general.architecture");
    ASSERT_TRUE(architecture.has_value());
    EXPECT_EQ(file->find_int(*architecture + ".block_count"), 2) << entry.path();
    ASSERT_NE(file->find("blk.1.ffn_down.weight"), nullptr);
    EXPECT_EQ(read_vocabulary(*file).tokens.size(), 384u);
    ++files;
  }
  EXPECT_GE(files, 9);  // the project carries nine of them
  const auto projector = GgufFile::open(folder / "mmproj/tiny-v45-F16.gguf");
  EXPECT_EQ(projector->find_int("clip.minicpmv_version"), 6);
  EXPECT_THAT(projector->find("v.patch_embd.weight")->view.shape(), ElementsAre(64, 3, 14, 14));
}

// ---- split files

void write_part(const std::filesystem::path& file, int64_t number, int64_t count, const char* tensor, float value,
                int64_t total) {
  GgufWriter writer;
  writer.set("split.no", {number, "u16"});
  writer.set("split.count", {count, "u16"});
  writer.set("split.tensors.count", {total, "i32"});
  if (number == 0) writer.set_string("general.architecture", "qwen3");
  MemorySource source;
  source.add(tensor, std::vector<float>{value}, {1});
  writer.add_tensor(tensor, source.find(tensor)->view);
  writer.write(file);
}

TEST(GgufSplit, AllPartsAreOneSource) {
  const TempFolder folder;
  write_part(folder / "m-00001-of-00003.gguf", 0, 3, "a", 1.0f, 3);
  write_part(folder / "m-00002-of-00003.gguf", 1, 3, "b", 2.0f, 3);
  write_part(folder / "m-00003-of-00003.gguf", 2, 3, "c", 3.0f, 3);
  const auto file = GgufFile::open(folder / "m-00001-of-00003.gguf");
  ASSERT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(*static_cast<const float*>(file->find("c")->view.data), 3.0f);
  EXPECT_THAT(file->find("b")->file, HasSubstr("00002-of-00003"));
  EXPECT_EQ(file->find_string("general.architecture"), "qwen3");
}

TEST(GgufSplit, DamagedSetsAreNamed) {
  const TempFolder folder;
  const auto first = folder / "m-00001-of-00002.gguf", second = folder / "m-00002-of-00002.gguf";
  write_part(first, 0, 2, "a", 1.0f, 2);
  EXPECT_THAT(error_message(ErrorCode::kNotFound, [&] { GgufFile::open(first); }), HasSubstr("m-00002-of-00002.gguf"));
  write_part(second, 1, 2, "a", 2.0f, 2);
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { GgufFile::open(first); }), HasSubstr("already defined in"));
  write_part(second, 0, 2, "b", 2.0f, 2);
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { GgufFile::open(first); }), HasSubstr("expected part 2 of 2"));
  write_part(second, 1, 2, "b", 2.0f, 2);
  EXPECT_EQ(GgufFile::open(first)->tensors().size(), 2u);
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { GgufFile::open(second); }), HasSubstr("open the first part"));
  write_part(first, 0, 2, "a", 1.0f, 5);
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { GgufFile::open(first); }),
              HasSubstr("split.tensors.count is 5"));
  write_part(folder / "other.gguf", 0, 2, "a", 1.0f, 2);
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { GgufFile::open(folder / "other.gguf"); }),
              HasSubstr("must end in \"-00001-of-00002.gguf\""));
  write_part(folder / "other.gguf", 0, 65536 - 1, "a", 1.0f, 2);
  EXPECT_THROW(GgufFile::open(folder / "other.gguf"), Error);
  write_part(folder / "single.gguf", 0, 1, "a", 1.0f, 1);
  EXPECT_EQ(GgufFile::open(folder / "single.gguf")->tensors().size(), 1u);
}

// ---- vocabulary

GgufVocabulary small_vocabulary() {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "qwen2";
  vocabulary.tokens = {"a", "b", "ab", "<|im_end|>"};
  vocabulary.types = {1, 1, 1, 3};
  vocabulary.merges = {"a b"};
  vocabulary.eos = 3;
  return vocabulary;
}

std::unique_ptr<GgufFile> with_vocabulary(const TempFolder& folder, const GgufVocabulary& vocabulary) {
  GgufWriter writer;
  write_vocabulary(vocabulary, writer);
  writer.write(folder / "v.gguf");
  return GgufFile::open(folder / "v.gguf");
}

TEST(GgufVocabulary, RoundTrip) {
  const TempFolder folder;
  GgufVocabulary vocabulary = small_vocabulary();
  const GgufVocabulary bpe = read_vocabulary(*with_vocabulary(folder, vocabulary));
  EXPECT_EQ(bpe.source, (folder / "v.gguf").string());
  EXPECT_EQ(bpe.model, "gpt2");
  EXPECT_EQ(bpe.pre, "qwen2");
  EXPECT_EQ(bpe.tokens, vocabulary.tokens);
  EXPECT_EQ(bpe.types, vocabulary.types);
  EXPECT_EQ(bpe.merges, vocabulary.merges);
  EXPECT_EQ(bpe.eos, 3);
  EXPECT_EQ(bpe.bos, std::nullopt);
  EXPECT_FALSE(bpe.add_space_prefix);

  vocabulary.model = "llama";
  vocabulary.pre.clear();
  vocabulary.merges.clear();
  vocabulary.scores = {0.0f, -1.0f, -2.5f, 0.0f};
  vocabulary.unk = 0;
  vocabulary.bos = 1;
  vocabulary.pad = 2;
  vocabulary.add_space_prefix = true;
  const GgufVocabulary pieces = read_vocabulary(*with_vocabulary(folder, vocabulary));
  EXPECT_EQ(pieces.scores, vocabulary.scores);
  EXPECT_EQ(pieces.unk, 0);
  EXPECT_EQ(pieces.bos, 1);
  EXPECT_EQ(pieces.pad, 2);
  EXPECT_TRUE(pieces.add_space_prefix);
}

TEST(GgufVocabulary, DamageIsNamed) {
  const TempFolder folder;
  GgufWriter().write(folder / "v.gguf");
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { read_vocabulary(*GgufFile::open(folder / "v.gguf")); }),
              HasSubstr("holds no vocabulary"));
  GgufVocabulary vocabulary = small_vocabulary();
  vocabulary.types.pop_back();
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { read_vocabulary(*with_vocabulary(folder, vocabulary)); }),
              HasSubstr("token_type\" has 3 entries for 4 tokens"));
  vocabulary = small_vocabulary();
  vocabulary.scores = {1.0f};
  EXPECT_THAT(error_message(ErrorCode::kBadFile, [&] { read_vocabulary(*with_vocabulary(folder, vocabulary)); }),
              HasSubstr("scores"));
}

TEST(GgufVocabulary, IdsOutsideTheVocabularyAreDroppedWithAWarning) {
  const TempFolder folder;
  GgufVocabulary vocabulary = small_vocabulary();
  vocabulary.pad = -1;  // some converters write this for "none"
  std::string warning;
  set_log_sink([&](LogLevel, std::string_view text) { warning = text; });
  const GgufVocabulary read = read_vocabulary(*with_vocabulary(folder, vocabulary));
  set_log_sink({});
  EXPECT_EQ(read.pad, std::nullopt);
  EXPECT_THAT(warning, HasSubstr("padding_token_id"));
}

}  // namespace
}  // namespace minicpm
