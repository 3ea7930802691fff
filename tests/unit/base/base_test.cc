#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "base/arena.h"
#include "base/checked.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/parallel.h"

namespace minicpm {
namespace {

using ::testing::HasSubstr;

template <typename Fn>
Error error_of(Fn fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::kInternal, "");
}

TEST(Checked, RefusesOverflow) {
  EXPECT_EQ(checked_mul(1ull << 32, 1ull << 31), 1ull << 63);
  EXPECT_EQ(checked_mul(1ull << 32, 1ull << 32), std::nullopt);
  EXPECT_EQ(checked_add(UINT64_MAX, 1), std::nullopt);
  const uint64_t big[] = {1ull << 40, 1ull << 23};
  EXPECT_EQ(checked_product(big), std::nullopt);  // 2^63 is no int64
  const uint64_t zero[] = {0, UINT64_MAX};
  EXPECT_EQ(checked_product(zero), 0);
  EXPECT_TRUE(range_inside(10, 0, 10));
  EXPECT_FALSE(range_inside(11, 0, 10));
  EXPECT_FALSE(range_inside(UINT64_MAX, 2, 10));
}

TEST(TensorView, SlicesAndReshapes) {
  float data[24];
  const Tensor t(data, DType::kF32, {4, 6});
  EXPECT_EQ(t.slice(1, 3).data, data + 6);
  EXPECT_EQ(t.slice(1, 3).dims[0], 2);
  EXPECT_EQ(t.reshape({2, 2, 6}).strides[0], 12);
  EXPECT_EQ(t.dim(-1), 6);
  EXPECT_EQ(shape_string(t.shape()), "[4, 6]");
  EXPECT_THROW(t.reshape({5, 5}), Error);
}

TEST(Arena, RewindsAndKeepsAddresses) {
  Arena arena;
  void* first = arena.allocate(100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
  void* inside = nullptr;
  {
    ArenaScope scope(arena);
    inside = arena.allocate(1000);
    arena.allocate(50u << 20);  // a chunk of its own
  }
  EXPECT_EQ(arena.allocate(1000), inside);
  EXPECT_GE(arena.peak_bytes(), 50u << 20);
  EXPECT_LT(arena.used_bytes(), 5000u);
}

class Files : public ::testing::Test {
 protected:
  Files() : folder_(std::filesystem::temp_directory_path() / fmt::format("minicpm_base_test_{}", ::getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~Files() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(Files, AreWrittenWhole) {
  const auto file = folder_ / "a.txt";
  write_file_atomically(file, "one");
  write_file_atomically(file, "two");
  EXPECT_EQ(read_file(file, 100), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()), 1);
  EXPECT_EQ(error_of([&] { read_file(file, 2); }).code(), ErrorCode::kBadFile);
}

TEST_F(Files, OddPathsAreOneSentence) {
  const Error missing = error_of([&] { FileMap::open(folder_ / "none"); });
  EXPECT_EQ(missing.code(), ErrorCode::kNotFound);
  EXPECT_THAT(missing.what(), HasSubstr("none: cannot open the file: No such file or directory"));
  EXPECT_EQ(error_of([&] { FileMap::open(folder_); }).code(), ErrorCode::kIo);
  const auto fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { FileMap::open(fifo); }).what(), HasSubstr("is not a regular file"));
  EXPECT_EQ(error_of([&] { write_file_atomically(folder_ / "no" / "b", "x"); }).code(), ErrorCode::kNotFound);
}

TEST_F(Files, EmptyFilesCanBeMapped) {
  write_file_atomically(folder_ / "empty", "");
  EXPECT_EQ(FileMap::open(folder_ / "empty")->size(), 0u);
  EXPECT_EQ(FileMap::open(folder_ / "empty", FileAccess::kRead)->size(), 0u);
}

TEST_F(Files, AreTheSameMappedAndRead) {
  // Parts of several threads, none of them a round number of pages.
  std::string content(size_t{33} << 20 | 1234, '\0');
  uint32_t state = 1;
  for (char& byte : content)
    byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  const auto file = folder_ / "large";
  write_file_atomically(file, content);
  const auto mapped = FileMap::open(file), read = FileMap::open(file, FileAccess::kRead);
  write_file_atomically(file, "another file of that name");
  for (const auto& map : {mapped, read}) {
    ASSERT_EQ(map->size(), content.size());
    EXPECT_EQ(std::memcmp(map->bytes().data(), content.data(), content.size()), 0);
  }
}

TEST_F(Files, OfLocalDisksAreMappedByDefault) {
  write_file_atomically(folder_ / "a", "x");
  EXPECT_EQ(choose_file_access(folder_ / "a", FileAccess::kRead), FileAccess::kRead);
  EXPECT_EQ(choose_file_access(folder_ / "a", FileAccess::kMap), FileAccess::kMap);
  EXPECT_EQ(choose_file_access("/proc/self/maps", FileAccess::kAuto), FileAccess::kMap);
  EXPECT_EQ(choose_file_access(folder_ / "none", FileAccess::kAuto), FileAccess::kMap);
}

TEST(ForParts, CoversEachNumberOnce) {
  for (const int64_t count : {0, 1, 2, 7, 100}) {
    for (const int64_t parts : {1, 2, 3, 8, 200}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
      for_parts(count, parts, [&](int64_t first, int64_t last) {
        EXPECT_LT(first, last);
        for (int64_t i = first; i < last; ++i)
          ++seen[static_cast<size_t>(i)];
      });
      EXPECT_TRUE(std::ranges::all_of(seen, [](int times) { return times == 1; })) << count << " in " << parts;
    }
  }
}

TEST(ForParts, ThrowsWhatTheFirstFailingPartThrew) {
  std::atomic<int> done = 0;
  const Error error = error_of([&] {
    for_parts(6, 3, [&](int64_t first, int64_t) {
      ++done;
      if (first > 0) fail(ErrorCode::kIo, "part from {}", first);
    });
  });
  EXPECT_STREQ(error.what(), "part from 2");
  EXPECT_EQ(done, 3);
}

TEST(Machine, PeakOfMemoryCountsFromWhereItIsForgotten) {
  constexpr size_t kBytes = size_t{64} << 20;
  {
    std::vector<char> large(kBytes);
    advise_large_pages(large.data(), large.size());  // changes nothing
    EXPECT_EQ(std::ranges::count(large, '\0'), static_cast<int64_t>(kBytes));
  }
  const int64_t before = peak_rss_bytes();
  EXPECT_GE(before, static_cast<int64_t>(kBytes));
  forget_peak_rss();
  EXPECT_LE(peak_rss_bytes(), before);  // some systems do not forget
}

TEST(JsonObjects, NameFileAndKey) {
  const Json json = parse_json(R"({"a": 1, "b": "x", "c": {"d": 2.5}, "n": null})", "f.json");
  const JsonObject object(json, "f.json");
  EXPECT_EQ(object.find_int("a"), 1);
  EXPECT_EQ(object.find_int("n"), std::nullopt);
  EXPECT_EQ(object.find_object("c")->find_number("d"), 2.5);
  EXPECT_STREQ(error_of([&] { object.find_int("b"); }).what(), "f.json: \"b\" must be a whole number, found string");
  EXPECT_STREQ(error_of([&] { object.find_object("c")->find_bool("d"); }).what(),
               "f.json: c: \"d\" must be true or false, found number");
  EXPECT_THAT(error_of([] { parse_json("{\"a\": }", "g.json"); }).what(), HasSubstr("g.json: not valid JSON at byte"));
  EXPECT_THAT(error_of([] { parse_json("{\"a\": 1e999}", "g.json"); }).what(), HasSubstr("out of range"));
  EXPECT_THAT(error_of([&] { JsonObject(json.at("a"), "f.json"); }).what(), HasSubstr("expected a JSON object"));
}

TEST(JsonObjects, DeepNestingDoesNotOverflowTheStack) {
  const std::string open(200000, '['), close(200000, ']');
  EXPECT_NO_THROW(parse_json(open + close, "deep.json"));
  EXPECT_THROW(parse_json(open, "deep.json"), Error);
}

}  // namespace
}  // namespace minicpm
