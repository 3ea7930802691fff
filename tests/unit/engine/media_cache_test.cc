#include "engine/media_cache.h"

#include <gtest/gtest.h>

namespace minicpm {
namespace {

MediaCache::Rows rows_of(size_t count) {
  return std::make_shared<const std::vector<float>>(count, 1.0f);
}

TEST(MediaCache, DropsTheLeastRecentlyUsed) {
  MediaCache cache(3 * 10 * static_cast<int64_t>(sizeof(float)));
  cache.put("", {1, 0}, rows_of(10));
  cache.put("", {2, 0}, rows_of(10));
  cache.put("", {3, 0}, rows_of(10));
  EXPECT_NE(cache.find("", {1, 0}), nullptr);
  cache.put("", {4, 0}, rows_of(10));
  EXPECT_EQ(cache.find("", {2, 0}), nullptr);
  EXPECT_NE(cache.find("", {1, 0}), nullptr);
  EXPECT_EQ(cache.bytes(), 120);
  EXPECT_EQ(cache.hits(), 2);
  EXPECT_EQ(cache.misses(), 1);
}

TEST(MediaCache, LeavesOutWhatIsTooLarge) {
  MediaCache cache(100);
  cache.put("", {1, 0}, rows_of(20));
  cache.put("", {2, 0}, rows_of(26));
  EXPECT_NE(cache.find("", {1, 0}), nullptr);
  EXPECT_EQ(cache.find("", {2, 0}), nullptr);
}

TEST(MediaCache, ScopesDoNotSeeEachOther) {
  MediaCache cache(1000);
  cache.put("a", {1, 0}, rows_of(1));
  EXPECT_EQ(cache.find("b", {1, 0}), nullptr);
  EXPECT_NE(cache.find("a", {1, 0}), nullptr);
}

}  // namespace
}  // namespace minicpm
