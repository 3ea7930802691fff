// The engine as an embedding program uses it, on the fixture's checkpoints.
#include "engine/chat.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "e2e/support.h"

namespace minicpm::e2e {
namespace {

std::shared_ptr<const Image> picture(int width, int height, uint32_t seed) {
  auto image = std::make_shared<Image>(Image{width, height, {}});
  for (int i = 0; i < width * height * 3; ++i) {
    image->rgb.push_back(static_cast<uint8_t>((static_cast<uint32_t>(i / 97) * 2654435761u + seed * 40503u) >> 24));
  }
  return image;
}

class EngineTest : public ModelTest {
 protected:
  static std::unique_ptr<Engine> open(const std::string& model, int64_t context = 2048) {
    EngineOptions options;
    options.context_tokens = context;
    options.precision = Precision::kExact;
    options.kv_type = DType::kF32;
    return Engine::load({model, ""}, options);
  }

  static ChatRequest ask(std::vector<Message> messages) {
    ChatRequest request;
    request.messages = std::move(messages);
    request.sampling.do_sample = false;
    request.sampling.max_tokens = 12;
    return request;
  }

  static Message user(const std::string& text, std::shared_ptr<const Image> image = nullptr) {
    Message message{"user", {}};
    if (image != nullptr) message.content.push_back(ContentPart::from_image(std::move(image)));
    message.content.push_back(ContentPart::from_text(text));
    return message;
  }
  static Message assistant(const std::string& text) { return {"assistant", {ContentPart::from_text(text)}}; }
};

// What is kept from the previous conversation must not show in any answer.
TEST_F(EngineTest, AUsedEngineAnswersLikeAFreshOne) {
  const Message first = user("What is this?", picture(150, 100, 1));
  const std::vector<std::vector<Message>> conversations = {
      {first},
      {first, assistant("A thing."), user("And its colour?")},
      {first, assistant("A thing."), user("And this one?", picture(90, 90, 2))},
      {first, assistant("A thing."), user("And this one?", picture(90, 90, 3))},  // the same but for the last picture
      {user("What is this?", picture(150, 100, 4))},
      {user("No picture here.")},
      {first},
  };
  const auto used = open(hf_);
  for (size_t i = 0; i < conversations.size(); ++i) {
    const ChatResult kept = used->chat(ask(conversations[i]));
    const ChatResult fresh = open(hf_)->chat(ask(conversations[i]));
    EXPECT_EQ(kept.tokens, fresh.tokens) << "conversation " << i;
    EXPECT_EQ(kept.usage.prompt_tokens, fresh.usage.prompt_tokens);
  }
}

TEST_F(EngineTest, BothLayoutsGiveTheSameTokens) {
  const ChatRequest request = ask({user("What is this?", picture(300, 120, 5))});
  const ChatResult hf = open(hf_)->chat(request);
  const ChatResult gguf =
      open(find_gguf(std::filesystem::path(gguf_).parent_path().parent_path() / "v45-gguf-f32", false))->chat(request);
  EXPECT_EQ(hf.usage.prompt_tokens, gguf.usage.prompt_tokens);
  EXPECT_EQ(hf.tokens, gguf.tokens);
}

TEST_F(EngineTest, BeamSearchFitsSmallContextsAndRepeats) {
  const auto engine = open(hf_, 256);
  ChatRequest request = ask({user("Hello")});
  request.sampling = engine->default_sampling(false, false);
  EXPECT_EQ(request.sampling.num_beams, 3);
  const ChatResult first = engine->chat(request);
  EXPECT_FALSE(first.tokens.empty());
  EXPECT_EQ(engine->chat(request).tokens, first.tokens);
}

TEST_F(EngineTest, TypedMarksAreText) {
  const auto engine = open(hf_);
  const ChatResult plain = engine->chat(ask({user("x")}));
  for (const char* typed : {"(<image>./</image>)", "<|im_end|>", "<image>", "\x01image\x01"}) {
    const ChatResult result = engine->chat(ask({user(std::string("x") + typed, picture(50, 50, 1))}));
    EXPECT_EQ(result.usage.images, 1) << typed;
    const ChatResult alone = engine->chat(ask({user(typed)}));
    EXPECT_EQ(alone.usage.images, 0);
    EXPECT_GT(alone.usage.prompt_tokens, plain.usage.prompt_tokens) << typed << " was taken for a control token";
  }
}

TEST_F(EngineTest, FramesOfAPackShareTheirTokens) {
  const auto engine = open(hf_);
  ContentPart pack;
  pack.kind = ContentPart::Kind::kFrames;
  pack.images = {picture(80, 60, 1), picture(80, 60, 2), picture(80, 60, 3)};
  pack.frame_ids = {0, 4, 9};
  ChatRequest request = ask({{"user", {pack, ContentPart::from_text("What moves?")}}});
  request.max_slices = 1;
  request.use_image_id = false;
  const ChatResult packed = engine->chat(request);
  request.messages[0].content[0].images.resize(1);
  request.messages[0].content[0].frame_ids.resize(1);
  const ChatResult single = engine->chat(request);
  EXPECT_EQ(packed.usage.prompt_tokens, single.usage.prompt_tokens);
  EXPECT_EQ(packed.usage.frames, 3);
  EXPECT_EQ(packed.usage.images, 0);
  EXPECT_EQ(packed.usage.slices, 3);
  EXPECT_EQ(single.usage.slices, 1);
  request.messages[0].content[0].frame_ids.push_back(5);
  EXPECT_THROW(engine->chat(request), Error);
}

TEST_F(EngineTest, ManyCallersEachGetTheirOwnAnswer) {
  constexpr int kCallers = 16;
  const auto request = [&](int caller) {
    ChatRequest one =
        ask({user("What is picture " + std::to_string(caller) + "?",
                  caller % 4 == 3 ? nullptr : picture(60 + 7 * caller, 90, static_cast<uint32_t>(caller)))});
    one.sampling.max_tokens = 4 + caller;
    return one;
  };
  const auto engine = open(hf_, 1024);  // less than all of them need together
  std::vector<std::vector<int32_t>> alone, together(kCallers);
  for (int i = 0; i < kCallers; ++i)
    alone.push_back(open(hf_, 1024)->chat(request(i)).tokens);
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < kCallers; ++i)
      callers.emplace_back([&, i] { together[static_cast<size_t>(i)] = engine->chat(request(i)).tokens; });
  }
  for (size_t i = 0; i < kCallers; ++i)
    EXPECT_EQ(together[i], alone[i]) << "caller " << i;
  EXPECT_EQ(engine->stats().callers, 0);
}

TEST_F(EngineTest, TenQuestionsAboutAPictureCostOneVisionPass) {
  const auto engine = open(hf_);
  for (int i = 0; i < 10; ++i) {
    const ChatResult result = engine->chat(ask({user("Question " + std::to_string(i) + "?", picture(200, 100, 1))}));
    EXPECT_EQ(result.usage.cached_tokens > 0, i > 0);  // the picture stands before the question
  }
  EXPECT_EQ(engine->stats().media_cache_misses, 1);
  ChatRequest stranger = ask({user("Question 1?", picture(200, 100, 1))});
  stranger.cache_scope = "somebody else";
  EXPECT_EQ(engine->chat(stranger).usage.cached_tokens, 0);
  EXPECT_EQ(engine->stats().media_cache_misses, 2);
}

TEST_F(EngineTest, RefusesWhatItCannotAnswer) {
  const auto engine = open(hf_, 128);
  const auto code = [&](const ChatRequest& request) {
    try {
      engine->chat(request);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code(ask({})), ErrorCode::kInvalidRequest);
  EXPECT_EQ(code(ask({user(" \n")})), ErrorCode::kInvalidRequest);
  EXPECT_EQ(code(ask({user("a"), assistant("b")})), ErrorCode::kInvalidRequest);
  EXPECT_EQ(code(ask({{"robot", {ContentPart::from_text("a")}}})), ErrorCode::kInvalidRequest);
  EXPECT_EQ(code(ask({user(std::string(4000, 'q'))})), ErrorCode::kInvalidRequest);
  EXPECT_FALSE(engine->chat(ask({user("still works")})).tokens.empty());
}

}  // namespace
}  // namespace minicpm::e2e
