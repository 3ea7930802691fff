#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "support/random_model.h"

namespace minicpm {
namespace {

Sequence prompt_of(int64_t tokens) {
  Sequence sequence;
  sequence.tokens.assign(tokens, 1);
  sequence.prompt_tokens = tokens;
  return sequence;
}

TEST(BlockPool, HandsOutEachBlockOnce) {
  BlockPool pool(5);
  std::set<int32_t> seen;
  for (int i = 0; i < 5; ++i)
    seen.insert(pool.allocate());
  EXPECT_EQ(seen.size(), 5u);
  EXPECT_EQ(pool.allocate(), -1);
  pool.retain(*seen.begin());
  pool.release(*seen.begin());
  EXPECT_EQ(pool.free_blocks(), 0);
  pool.release(*seen.begin());
  EXPECT_EQ(pool.allocate(), *seen.begin());
}

class SchedulerTest : public ::testing::Test {
 protected:
  KvCache cache_{testing::tiny_config().decoder, DType::kF32, 10 * kBlockTokens};
};

TEST_F(SchedulerTest, CutsAPromptIntoChunks) {
  Scheduler scheduler(cache_, 50);
  Sequence sequence = prompt_of(120);
  scheduler.add(sequence);
  std::vector<int64_t> counts;
  while (sequence.pending() > 0) {
    const StepPlan plan = scheduler.next();
    ASSERT_EQ(plan.items.size(), 1u);
    counts.push_back(plan.items[0].count);
    EXPECT_EQ(plan.items[0].logits, plan.items[0].first + plan.items[0].count == 120);
    scheduler.commit(plan);
  }
  EXPECT_EQ(counts, (std::vector<int64_t>{50, 50, 20}));
  EXPECT_EQ(sequence.blocks.size(), 4u);
  scheduler.remove(sequence);
  EXPECT_EQ(cache_.pool().free_blocks(), 10);
}

TEST_F(SchedulerTest, DecodesAndPrefillsInOneStep) {
  Scheduler scheduler(cache_, 20);
  Sequence decoding = prompt_of(10);
  scheduler.add(decoding);
  scheduler.commit(scheduler.next());
  decoding.tokens.push_back(2);
  Sequence prompt = prompt_of(100);
  scheduler.add(prompt);
  const StepPlan plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 2u);
  EXPECT_EQ(plan.items[0].sequence, &decoding);
  EXPECT_EQ(plan.items[0].count, 1);
  EXPECT_EQ(plan.items[1].sequence, &prompt);
  EXPECT_EQ(plan.items[1].count, 19);
  scheduler.remove(decoding);
  scheduler.remove(prompt);
}

TEST_F(SchedulerTest, EncodesAPictureWhenTheChunkReachesIt) {
  Scheduler scheduler(cache_, 16);
  Sequence sequence = prompt_of(64);
  auto media = std::make_shared<MediaItem>();
  media->spans = {20};
  sequence.media.push_back(media);
  sequence.media_rows.resize(1);
  scheduler.add(sequence);
  StepPlan plan = scheduler.next();
  EXPECT_TRUE(plan.encode.empty());
  scheduler.commit(plan);
  plan = scheduler.next();
  ASSERT_EQ(plan.encode.size(), 1u);
  sequence.media_rows[0] = std::make_shared<const std::vector<float>>();
  scheduler.commit(plan);
  EXPECT_TRUE(scheduler.next().encode.empty());
  scheduler.remove(sequence);
}

TEST_F(SchedulerTest, ForksShareBlocksUntilTheyWrite) {
  Scheduler scheduler(cache_, 1000);
  Sequence parent = prompt_of(40);
  scheduler.add(parent);
  scheduler.commit(scheduler.next());
  scheduler.detach(parent);
  Sequence child;
  scheduler.fork(parent, child);
  EXPECT_EQ(cache_.pool().free_blocks(), 8);
  child.tokens.push_back(7);
  scheduler.add(child);
  scheduler.commit(scheduler.next());
  EXPECT_EQ(child.blocks[0], parent.blocks[0]);  // full: shared for good
  EXPECT_NE(child.blocks[1], parent.blocks[1]);  // half full: copied before the write
  EXPECT_EQ(cache_.pool().free_blocks(), 7);
  scheduler.remove(child);
  scheduler.release(parent);
  EXPECT_EQ(cache_.pool().free_blocks(), 10);
}

TEST_F(SchedulerTest, SaysWhenTheContextIsFull) {
  Scheduler scheduler(cache_, 1000);
  Sequence sequence = prompt_of(10 * kBlockTokens + 1);
  scheduler.add(sequence);
  EXPECT_THROW(scheduler.next(), Error);
  scheduler.remove(sequence);
  EXPECT_EQ(cache_.pool().free_blocks(), 10);
}

// Many random events; after each, every block's count equals the number of sequences that hold it.
TEST_F(SchedulerTest, CountsStayRightUnderRandomEvents) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  Scheduler scheduler(cache_, 24);
  std::vector<std::unique_ptr<Sequence>> all;
  for (int event = 0; event < 20000; ++event) {
    const auto pick = [&] { return all[random() % all.size()].get(); };
    const int kind = static_cast<int>(random() % 6);
    try {
      if (kind == 0 || all.empty()) {
        all.push_back(std::make_unique<Sequence>(prompt_of(1 + static_cast<int64_t>(random() % 70))));
        scheduler.add(*all.back());
      } else if (kind == 1) {
        auto child = std::make_unique<Sequence>();
        scheduler.fork(*pick(), *child);
        all.push_back(std::move(child));
        scheduler.add(*all.back());
      } else if (kind == 2) {
        Sequence* sequence = pick();
        if (sequence->pending() == 0) sequence->tokens.push_back(3);
      } else if (kind == 3) {
        Sequence* sequence = pick();
        const auto keep = static_cast<int64_t>(random() % (sequence->tokens.size() + 1));
        scheduler.truncate(*sequence, keep);
      } else if (kind == 4) {
        const size_t index = random() % all.size();
        scheduler.remove(*all[index]);
        all.erase(all.begin() + static_cast<std::ptrdiff_t>(index));
      } else {
        scheduler.commit(scheduler.next());
      }
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kOutOfMemory);
    }
    std::vector<int> counts(10, 0);
    for (const auto& sequence : all) {
      for (int32_t block : sequence->blocks)
        ++counts[block];
      ASSERT_GE(static_cast<int64_t>(sequence->blocks.size()) * kBlockTokens, sequence->computed);
    }
    for (int32_t block = 0; block < 10; ++block)
      ASSERT_EQ(cache_.pool().references(block), counts[block]);
  }
  for (const auto& sequence : all)
    scheduler.remove(*sequence);
  EXPECT_EQ(cache_.pool().free_blocks(), 10);
}

}  // namespace
}  // namespace minicpm
