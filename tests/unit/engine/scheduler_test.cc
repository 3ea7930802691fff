#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <random>
#include <set>

#include "base/error.h"
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

TEST(KvCache, TakesTheTypesItKnowsWhereTheHeadsFit) {
  DecoderConfig config = testing::tiny_config().decoder;
  const int64_t values = 2 * config.num_layers * config.kv_dim * 2 * kBlockTokens;  // 40 tokens are two blocks
  EXPECT_EQ(KvCache::bytes_for(config, DType::kF32, 40), 4 * values);
  EXPECT_EQ(KvCache::bytes_for(config, DType::kF16, 40), 2 * values);
  EXPECT_EQ(KvCache::bytes_for(config, DType::kBF16, 40), 2 * values);
  EXPECT_EQ(KvCache::bytes_for(config, DType::kQ8_0, 40), values / 32 * 34);
  EXPECT_THROW(KvCache(config, DType::kQ4_0, 40), Error);
  EXPECT_THROW(KvCache(config, DType::kI8, 40), Error);
  config.head_dim = 48;
  EXPECT_THROW(KvCache(config, DType::kQ8_0, 40), Error);
}

TEST(KvCache, CopiesBlocksOfEachType) {
  const DecoderConfig config = testing::tiny_config().decoder;
  for (const DType type : kCacheTypes) {
    KvCache cache(config, type, 3 * kBlockTokens);
    const KvLayer& last = cache.layers().back();
    const auto block = static_cast<size_t>(row_bytes(type, config.kv_dim * kBlockTokens));
    auto* values = static_cast<std::byte*>(last.v);
    std::fill_n(values + block, block, std::byte{7});
    cache.copy_block(1, 2);
    EXPECT_TRUE(std::equal(values + 2 * block, values + 3 * block, values + block)) << name(type);
    EXPECT_TRUE(std::all_of(values, values + block, [](std::byte b) { return b == std::byte{0}; })) << name(type);
  }
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

TEST_F(SchedulerTest, LongPromptsComeInSmallPiecesBesideOthers) {
  Scheduler scheduler(cache_, 1000);
  Sequence decoding = prompt_of(10);
  decoding.tokens[0] = 5;
  scheduler.add(decoding);
  scheduler.commit(scheduler.next());
  decoding.tokens.push_back(2);
  Sequence prompt = prompt_of(250);
  scheduler.add(prompt);
  StepPlan plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 2u);
  EXPECT_EQ(plan.items[1].count, 128);
  scheduler.commit(plan);
  scheduler.remove(decoding);
  plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.items[0].count, 122);
  scheduler.remove(prompt);
}

TEST_F(SchedulerTest, EncodesAPictureWhenTheChunkReachesIt) {
  Scheduler scheduler(cache_, 16);
  Sequence sequence = prompt_of(64);
  auto media = std::make_shared<MediaItem>();
  media->spans = {20};
  media->span_rows = {8};
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

TEST_F(SchedulerTest, ShortPromptsShareAStep) {
  Scheduler scheduler(cache_, 100);
  std::vector<Sequence> prompts;
  for (int i = 0; i < 3; ++i) {
    prompts.push_back(prompt_of(40));
    prompts.back().tokens[0] = i;  // nothing in common
  }
  for (Sequence& prompt : prompts)
    scheduler.add(prompt);
  const StepPlan plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 3u);
  EXPECT_EQ(plan.items[2].count, 20);
  EXPECT_TRUE(plan.items[1].logits);
  EXPECT_FALSE(plan.items[2].logits);
  for (Sequence& prompt : prompts)
    scheduler.remove(prompt);
}

TEST_F(SchedulerTest, TheYoungestGivesWayAndComesBack) {
  Scheduler scheduler(cache_, 1000);
  Sequence old = prompt_of(5 * kBlockTokens), young = prompt_of(4 * kBlockTokens);
  young.tokens[0] = 9;
  scheduler.add(old);
  scheduler.commit(scheduler.next());
  scheduler.add(young);
  scheduler.commit(scheduler.next());
  EXPECT_EQ(cache_.pool().free_blocks(), 1);
  old.tokens.push_back(1);
  young.tokens.push_back(1);
  StepPlan plan = scheduler.next();  // each needs a block more, and one is left
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.items[0].sequence, &old);
  EXPECT_TRUE(young.blocks.empty());
  EXPECT_EQ(young.computed, 0);
  EXPECT_EQ(scheduler.stats().preempted, 1);
  scheduler.commit(plan);
  scheduler.remove(old);
  plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.items[0].count, 4 * kBlockTokens + 1);
  EXPECT_TRUE(plan.items[0].logits);
  scheduler.remove(young);
}

TEST_F(SchedulerTest, NobodyOvertakesWhoeverWaitsForRoom) {
  Scheduler scheduler(cache_, 1000);
  Sequence first = prompt_of(5 * kBlockTokens), large = prompt_of(6 * kBlockTokens), small = prompt_of(3);
  large.tokens[0] = 8;
  small.tokens[0] = 9;
  scheduler.add(first);
  scheduler.commit(scheduler.next());
  scheduler.add(large);
  scheduler.add(small);
  first.tokens.push_back(1);
  const StepPlan plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 1u);
  scheduler.commit(plan);
  scheduler.remove(first);
  EXPECT_EQ(scheduler.next().items.size(), 2u);
  scheduler.remove(large);
  scheduler.remove(small);
}

Sequence with_media(Sequence sequence, int64_t first, int64_t rows, uint64_t digest) {
  auto media = std::make_shared<MediaItem>();
  media->spans = {first};
  media->span_rows = {rows};
  sequence.media.push_back(std::move(media));
  sequence.media_rows.push_back(nullptr);
  sequence.media_digests.push_back({digest, 0});
  return sequence;
}

TEST_F(SchedulerTest, AHigherPriorityGoesFirst) {
  Scheduler scheduler(cache_, 20);
  Sequence background = prompt_of(100), waited_for = prompt_of(30), live = prompt_of(10);
  waited_for.tokens[0] = 2;  // nothing to share
  live.tokens[0] = 3;
  background.priority = -1;
  live.priority = 1;
  scheduler.add(background);
  scheduler.commit(scheduler.next());
  scheduler.add(waited_for);
  scheduler.add(live);
  const StepPlan plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 2u);
  EXPECT_EQ(plan.items[0].sequence, &live);
  EXPECT_EQ(plan.items[1].sequence, &waited_for);
  EXPECT_EQ(background.computed, 20);
  for (Sequence* sequence : {&background, &waited_for, &live})
    scheduler.remove(*sequence);
}

TEST_F(SchedulerTest, ALowerPriorityGivesUpItsBlocks) {
  Scheduler scheduler(cache_, 1000);
  Sequence background = prompt_of(8 * kBlockTokens);
  background.priority = -1;
  scheduler.add(background);
  scheduler.commit(scheduler.next());
  background.tokens.push_back(2);
  Sequence equal = prompt_of(5 * kBlockTokens);
  equal.priority = -1;
  scheduler.add(equal);
  StepPlan plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.items[0].sequence, &background);  // who is equal waits
  scheduler.commit(plan);
  background.tokens.push_back(2);

  Sequence waited_for = prompt_of(5 * kBlockTokens);
  scheduler.add(waited_for);
  plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.items[0].sequence, &waited_for);
  EXPECT_EQ(background.computed, 0);
  EXPECT_EQ(scheduler.stats().preempted, 1);
  scheduler.commit(plan);
  scheduler.remove(waited_for);
  plan = scheduler.next();
  ASSERT_EQ(plan.items.size(), 1u);
  EXPECT_EQ(plan.items[0].sequence, &background);
  EXPECT_EQ(plan.items[0].count, 8 * kBlockTokens + 2);
  scheduler.commit(plan);
  scheduler.remove(background);
  scheduler.remove(equal);
  EXPECT_EQ(cache_.pool().free_blocks(), 10);
}

TEST_F(SchedulerTest, AKeptBeginningIsNotComputedAgain) {
  Scheduler scheduler(cache_, 1000);
  const auto compute = [&](Sequence sequence) {
    scheduler.add(sequence);
    const StepPlan plan = scheduler.next();
    EXPECT_EQ(plan.items.size(), 1u);
    const int64_t rows = plan.items[0].count;
    scheduler.commit(plan);
    scheduler.keep(sequence);
    return rows;
  };
  EXPECT_EQ(compute(with_media(prompt_of(100), 40, 16, 7)), 100);
  EXPECT_EQ(scheduler.stats().kept, 1);
  EXPECT_EQ(compute(with_media(prompt_of(110), 40, 16, 7)), 10);
  EXPECT_EQ(scheduler.stats().kept, 1);                           // the longer one in place of its beginning
  EXPECT_EQ(compute(with_media(prompt_of(110), 40, 16, 8)), 70);  // another picture
  EXPECT_EQ(compute(prompt_of(110)), 70);                         // none
  Sequence other_scope = prompt_of(50);
  other_scope.scope = "somebody else";
  EXPECT_EQ(compute(other_scope), 50);
  EXPECT_EQ(compute(prompt_of(20)), 1);  // one row must give logits
  scheduler.forget();
  EXPECT_EQ(cache_.pool().free_blocks(), 10);
  EXPECT_EQ(compute(prompt_of(20)), 20);
}

TEST_F(SchedulerTest, KeptSequencesMakeRoom) {
  Scheduler scheduler(cache_, 1000);
  for (int i = 0; i < 4; ++i) {
    Sequence sequence = prompt_of(4 * kBlockTokens);
    sequence.tokens[0] = 10 + i;
    scheduler.add(sequence);
    scheduler.commit(scheduler.next());
    scheduler.keep(sequence);
  }
  EXPECT_EQ(scheduler.stats().kept, 2);
  EXPECT_EQ(cache_.pool().free_blocks(), 2);
}

TEST_F(SchedulerTest, OnePictureAStepWhileOthersWait) {
  Scheduler scheduler(cache_, 1000);
  Sequence decoding = prompt_of(10);
  decoding.tokens[0] = 5;
  scheduler.add(decoding);
  scheduler.commit(scheduler.next());
  Sequence pictures = with_media(with_media(prompt_of(100), 20, 8, 1), 60, 8, 2);
  scheduler.add(pictures);
  for (const int64_t count : {60, 40}) {
    decoding.tokens.push_back(1);
    const StepPlan plan = scheduler.next();
    ASSERT_EQ(plan.encode.size(), 1u);
    pictures.media_rows[plan.encode[0].media] = std::make_shared<const std::vector<float>>();
    ASSERT_EQ(plan.items.size(), 2u);
    EXPECT_EQ(plan.items[1].count, count);
    scheduler.commit(plan);
  }
  scheduler.remove(decoding);
  scheduler.remove(pictures);
}

// A server's life without a model: sequences come, share beginnings, are cancelled, kept and driven out. Every plan
// must be one that a model can compute, and everybody must be served.
TEST_F(SchedulerTest, ServesEverybodyUnderRandomEvents) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t limit) { return static_cast<int64_t>(random() % limit); };
  Scheduler scheduler(cache_, 48);
  struct Client {
    Sequence sequence;
    int64_t wanted;
  };
  std::list<Client> clients;
  const auto arrive = [&] {
    Client client{prompt_of(1 + below(5 * kBlockTokens)), 1 + below(60)};
    client.sequence.tokens[0] = static_cast<int32_t>(below(3));
    for (int64_t at = 4; at + 8 < client.sequence.prompt_tokens && below(2) == 0; at += 30)
      client.sequence = with_media(std::move(client.sequence), at, 5, random() % 4);
    clients.push_back(std::move(client));
    scheduler.add(clients.back().sequence);
  };
  const auto leave = [&](std::list<Client>::iterator client) {
    if (below(2) == 0) {
      scheduler.keep(client->sequence);
    } else {
      scheduler.remove(client->sequence);
    }
    return clients.erase(client);
  };
  int64_t served = 0;
  for (int event = 0; event < 1'000'000; ++event) {
    if (clients.size() < 12 && below(8) == 0) arrive();
    if (!clients.empty() && below(200) == 0) leave(std::next(clients.begin(), below(clients.size())));
    if (clients.empty()) continue;
    const StepPlan plan = scheduler.next();
    ASSERT_FALSE(plan.empty());
    std::set<const Sequence*> seen;
    int64_t rows = 0;
    for (const EncodeItem& item : plan.encode)
      item.sequence->media_rows[item.media] = std::make_shared<const std::vector<float>>();
    for (const WorkItem& item : plan.items) {
      const Sequence& sequence = *item.sequence;
      ASSERT_TRUE(seen.insert(&sequence).second);
      ASSERT_EQ(item.first, sequence.computed);
      rows += item.count;
      const int64_t end = item.first + item.count;
      ASSERT_LE(end, static_cast<int64_t>(sequence.blocks.size()) * kBlockTokens);
      for (int64_t b = item.first / kBlockTokens; b <= (end - 1) / kBlockTokens; ++b)
        ASSERT_EQ(cache_.pool().references(sequence.blocks[b]), 1) << "writes to a block that others see";
      for (size_t m = 0; m < sequence.media.size(); ++m) {
        const bool shown = sequence.media[m]->first() < end && sequence.media[m]->end() > item.first;
        ASSERT_TRUE(!shown || sequence.media_rows[m] != nullptr);
      }
    }
    ASSERT_LE(rows, 48 + 12);
    scheduler.commit(plan);
    for (auto client = clients.begin(); client != clients.end();) {
      Sequence& sequence = client->sequence;
      if (sequence.pending() == 0) {
        sequence.tokens.push_back(static_cast<int32_t>(below(2)));
        if (--client->wanted == 0) {
          ++served;
          client = leave(client);
          continue;
        }
      }
      ++client;
    }
  }
  EXPECT_GT(served, 1000);
  while (!clients.empty())
    leave(clients.begin());
  scheduler.forget();
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
        all.back()->priority = static_cast<int>(random() % 3) - 1;
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
