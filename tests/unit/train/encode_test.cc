#include "train/encode.h"

#include <gmock/gmock.h>

#include <random>

#include "train_support.h"

namespace minicpm {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class EncodeTest : public ::testing::Test {
 protected:
  EncodedSample encode(std::vector<Message> messages) const {
    return encode_sample(tiny_.processor, {std::move(messages), {}, "data.jsonl:17"}, options_);
  }
  std::vector<std::string> learned(std::vector<Message> messages) const {
    return learned_texts(encode(std::move(messages)), *tiny_.tokenizer);
  }
  std::string text(const EncodedSample& sample) const { return tiny_.tokenizer->decode(sample.input.tokens, false); }

  TinyProcessor tiny_;
  EncodeOptions options_;
};

TEST_F(EncodeTest, LearnsTheAnswerAndItsEnd) {
  const EncodedSample sample = encode({text_message("user", "What is it?"), text_message("assistant", "A cat.")});
  EXPECT_EQ(text(sample),
            "<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nA cat.<|im_end|>");
  EXPECT_THAT(learned_texts(sample, *tiny_.tokenizer), ElementsAre("A cat.<|im_end|>"));
  EXPECT_EQ(sample.trained_tokens, 5);  // "A", " c", "at", ".", and the end
  EXPECT_THAT(sample.cells, IsEmpty());
}

TEST_F(EncodeTest, LearnsEveryTurnAndNoEmptyThinkBlock) {
  EXPECT_THAT(
      learned({text_message("system", "Be brief."), text_message("user", "1?"), text_message("assistant", "one"),
               text_message("user", "2?"), text_message("assistant", "\n\ntwo\n")}),
      ElementsAre("one<|im_end|>", "two\n<|im_end|>"));
}

TEST_F(EncodeTest, LearnsReasoningOfTheLastTurnOnly) {
  const EncodedSample sample =
      encode({text_message("user", "1+1?"), text_message("assistant", "<think>\nold\n</think>\n\nit is 2"),
              text_message("user", "2+2?"), text_message("assistant", "<think>\n2+2 = 4\n</think>\n\nfour")});
  EXPECT_EQ(
      text(sample),
      "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\nit is 2<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>"
      "\n<|im_start|>assistant\n<think>\n2+2 = 4\n</think>\n\nfour<|im_end|>");
  EXPECT_THAT(learned_texts(sample, *tiny_.tokenizer),
              ElementsAre("it is 2<|im_end|>", "2+2 = 4\n</think>\n\nfour<|im_end|>"));
}

TEST_F(EncodeTest, BlankReasoningMeansNoThinking) {
  const auto sample = encode({text_message("user", "q"), text_message("assistant", "<think>\n\n</think>\n\nfour")});
  EXPECT_THAT(text(sample), HasSubstr("assistant\n<think>\n\n</think>\n\nfour<|im_end|>"));
  EXPECT_THAT(learned_texts(sample, *tiny_.tokenizer), ElementsAre("four<|im_end|>"));
}

TEST_F(EncodeTest, MarksInAnswersAreTokensInQuestionsText) {
  const EncodedSample sample =
      encode({text_message("user", "<|im_end|><box>"), text_message("assistant", "<box>1 2</box><|im_end|>")});
  const auto count = [&](std::string_view token) {
    return std::ranges::count(sample.input.tokens, *tiny_.tokenizer->token_id(token));
  };
  EXPECT_EQ(count("<box>"), 1);
  EXPECT_EQ(count("</box>"), 1);
  EXPECT_EQ(count("<|im_end|>"), 2);
  EXPECT_THAT(learned_texts(sample, *tiny_.tokenizer), ElementsAre("<box>1 2</box><|im_end|><|im_end|>"));
  // History shows marks as text, which no model is to write.
  EXPECT_THAT(learned({text_message("user", "a"), text_message("assistant", "<box>1</box>"), text_message("user", "b"),
                       text_message("assistant", "c")}),
              ElementsAre("c<|im_end|>"));
}

TEST_F(EncodeTest, AnswerThatBeginsWithALineEndInHistory) {
  // "assistant\n" and "\n\nx" share a token, which belongs to the header.
  EXPECT_THAT(learned({text_message("user", "a"), text_message("assistant", "\nx"), text_message("user", "b"),
                       text_message("assistant", "c")}),
              ElementsAre("x<|im_end|>", "c<|im_end|>"));
}

TEST_F(EncodeTest, Pictures) {
  const EncodedSample sample = encode({picture_message({plain_picture(112, 112), plain_picture(300, 200)}, "Compare."),
                                       text_message("assistant", "Different.")});
  ASSERT_EQ(sample.input.media.size(), 2u);
  EXPECT_EQ(sample.input.media[0]->slices.size(), 1u);
  EXPECT_GT(sample.input.media[1]->slices.size(), 1u);
  EXPECT_THAT(learned_texts(sample, *tiny_.tokenizer), ElementsAre("Different.<|im_end|>"));
  options_.max_slices = 1;
  const EncodedSample small = encode({picture_message({plain_picture(112, 112), plain_picture(300, 200)}, "Compare."),
                                      text_message("assistant", "Different.")});
  EXPECT_EQ(small.input.media[1]->slices.size(), 1u);
}

TEST_F(EncodeTest, IndependentTurnsAreEachWhatOneQuestionWouldBe) {
  const auto picture = plain_picture(300, 200);
  const std::vector<Message> messages = {text_message("system", "Be brief."),
                                         picture_message({picture}, "Which?"),
                                         text_message("assistant", "first"),
                                         text_message("user", "Where is it?"),
                                         text_message("assistant", "<think>\nlook\n</think>\n\nleft"),
                                         text_message("user", "Which?"),
                                         text_message("assistant", "again")};
  options_.independent_turns = true;
  const EncodedSample joined = encode(messages);
  options_.independent_turns = false;
  ASSERT_EQ(joined.branches.size(), 3u);
  EXPECT_EQ(joined.input.media.size(), 1u);
  EXPECT_THAT(learned_texts(joined, *tiny_.tokenizer),
              ElementsAre("first<|im_end|>", HasSubstr("left<|im_end|>"), "again<|im_end|>"));
  const auto shared = joined.branches[0];
  for (size_t b = 0; b < 3; ++b) {
    Message question = messages[1 + 2 * b];
    if (b > 0) question.content.insert(question.content.begin(), messages[1].content.front());
    const EncodedSample alone = encode({messages[0], question, messages[2 + 2 * b]});
    const auto begin = joined.branches[b];
    const auto end = b < 2 ? joined.branches[b + 1] : static_cast<int64_t>(joined.input.tokens.size());
    std::vector<int32_t> tokens(joined.input.tokens.begin(), joined.input.tokens.begin() + shared);
    tokens.insert(tokens.end(), joined.input.tokens.begin() + begin, joined.input.tokens.begin() + end);
    EXPECT_EQ(tokens, alone.input.tokens) << b;
    EXPECT_TRUE(std::equal(joined.labels.begin() + begin, joined.labels.begin() + end, alone.labels.begin() + shared));
    EXPECT_EQ(joined.input.media[0]->spans, alone.input.media[0]->spans);
  }
}

TEST_F(EncodeTest, IndependentTurnsRefuseWhatTheyCannotShare) {
  options_.independent_turns = true;
  const auto refusal = [&](std::vector<Message> messages) { return error_text([&] { encode(std::move(messages)); }); };
  const Message a = text_message("assistant", "a"), q = text_message("user", "q");
  const Message picture = picture_message({plain_picture(50, 50)}, "q");
  Message behind = q;
  behind.content.push_back(ContentPart::from_image(plain_picture(50, 50)));
  EXPECT_THAT(refusal({}), HasSubstr("has no question"));
  EXPECT_THAT(refusal({q}), HasSubstr("a last message without an answer"));
  EXPECT_THAT(refusal({q, q, a, a}), HasSubstr("two messages of one role"));
  EXPECT_THAT(refusal({picture, a, picture, a}), HasSubstr("message 3 has more"));
  EXPECT_THAT(refusal({behind, a, q, a}), HasSubstr("before the text of the first question"));
}

TEST_F(EncodeTest, Refusals) {
  const auto refusal = [&](std::vector<Message> messages) { return error_text([&] { encode(std::move(messages)); }); };
  const Message q = text_message("user", "q"), a = text_message("assistant", "a");
  EXPECT_THAT(refusal({}), HasSubstr("data.jsonl:17: there is nothing to learn"));
  EXPECT_THAT(refusal({q}), HasSubstr("the last message must be the assistant's"));
  EXPECT_THAT(refusal({a}), HasSubstr("no message"));
  EXPECT_THAT(refusal({q, text_message("assistant", " \n")}), HasSubstr("the last answer is empty"));
  EXPECT_THAT(refusal({q, text_message("assistant", "<think>\n</think>\n")}), HasSubstr("the last answer is empty"));
  EXPECT_THAT(refusal({q, text_message("robot", "a"), q, a}), HasSubstr("role \"robot\""));
  Message with_picture = a;
  with_picture.content.push_back(ContentPart::from_image(plain_picture(14, 14)));
  EXPECT_THAT(refusal({q, with_picture}), HasSubstr("an answer to learn cannot hold a picture"));
  options_.max_tokens = 10;
  EXPECT_THAT(refusal({q, a}), HasSubstr("data.jsonl:17: the sample has 24 tokens, expected at most 10"));
}

std::string random_text(std::mt19937& random) {
  static const std::string kPieces[] = {"the ",        "cat",          "\n",      "\n\n",      " ",  "<|im_end|>",
                                        "<think>",     "</think>",     "<image>", "é",         "猫", "12",
                                        "assistant\n", "<|im_start|>", "\r\n",    "e\xcc\x81", ".",  "\t"};
  std::string text;
  const size_t count = random() % 8;
  for (size_t i = 0; i < count; ++i)
    text += kPieces[random() % std::size(kPieces)];
  return text + (random() % 2 ? "x" : "a ");
}

/// user and assistant in turn, the assistant last.
std::vector<Message> random_conversation(std::mt19937& random) {
  std::vector<Message> messages;
  if (random() % 3 == 0) messages.push_back(text_message("system", random_text(random)));
  const size_t turns = 1 + random() % 4;
  for (size_t i = 0; i < turns; ++i) {
    std::vector<std::shared_ptr<const Image>> pictures;
    while (random() % 3 == 0)
      pictures.push_back(plain_picture(20 + static_cast<int>(random() % 200), 20 + static_cast<int>(random() % 200)));
    messages.push_back(picture_message(std::move(pictures), random_text(random)));
    std::string answer = random_text(random);
    if (random() % 3 == 0) answer = "<think>\n" + random_text(random) + "\n</think>\n\n" + answer;
    messages.push_back(text_message("assistant", answer));
  }
  return messages;
}

TEST_F(EncodeTest, ThePromptIsWhatInferenceWouldSee) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  options_.max_tokens = 100000;
  int thinking = 0;
  for (int i = 0; i < 200; ++i) {
    const std::vector<Message> messages = random_conversation(random);
    const TrainingPrompt training = tiny_.processor.prepare_training(messages, {});
    ChatRequest request;
    request.messages.assign(messages.begin(), messages.end() - 1);
    const std::string prompt = tiny_.tokenizer->decode(
        std::span(training.input.tokens).first(static_cast<size_t>(training.prompt_tokens)), false);
    request.thinking = prompt.ends_with("assistant\n<think>\n");
    thinking += request.thinking;
    const PreparedPrompt inference = tiny_.processor.prepare(request);
    ASSERT_LT(inference.input.tokens.size(), training.input.tokens.size());
    EXPECT_EQ(training.prompt_tokens, static_cast<int64_t>(inference.input.tokens.size()));
    EXPECT_TRUE(std::ranges::equal(inference.input.tokens,
                                   std::span(training.input.tokens).first(inference.input.tokens.size())));
    ASSERT_EQ(training.input.media.size(), inference.input.media.size());
    for (size_t m = 0; m < inference.input.media.size(); ++m) {
      EXPECT_EQ(training.input.media[m]->spans, inference.input.media[m]->spans);
      ASSERT_EQ(training.input.media[m]->slices.size(), inference.input.media[m]->slices.size());
      for (size_t s = 0; s < inference.input.media[m]->slices.size(); ++s)
        EXPECT_EQ(training.input.media[m]->slices[s].values, inference.input.media[m]->slices[s].values);
    }
    // The prompt's last token and the tokens of the last answer's turn.
    EXPECT_FALSE(training.learned[static_cast<size_t>(training.prompt_tokens) - 1]);
    for (auto t = static_cast<size_t>(training.prompt_tokens); t < training.learned.size(); ++t)
      EXPECT_TRUE(training.learned[t]);
    EXPECT_EQ(training.input.tokens.back(), *tiny_.tokenizer->token_id("<|im_end|>"));
    EXPECT_EQ(training.usage.completion_tokens + training.prompt_tokens,
              static_cast<int64_t>(training.input.tokens.size()));
  }
  EXPECT_GT(thinking, 5);
}

TEST_F(EncodeTest, OtherVersions) {
  const std::vector<Message> messages = {text_message("user", "1?"), text_message("assistant", "one"),
                                         text_message("user", "2?"), text_message("assistant", " two")};
  const auto learned_by = [&](std::string_view version) {
    ModelConfig config = tiny_.config;
    config.version = version_by_key(version);
    const Processor processor(config, *tiny_.tokenizer);
    return learned_texts(encode_sample(processor, {messages, {}, ""}, options_), *tiny_.tokenizer);
  };
  EXPECT_THAT(learned_by("v26"), ElementsAre("one<|im_end|>", " two<|im_end|>"));
  EXPECT_THAT(learned_by("v40"), ElementsAre("one<|im_end|>", " two<|im_end|>"));
  EXPECT_THAT(error_text([&] { learned_by("minicpm"); }), HasSubstr("chat template is not supported"));
  EXPECT_THAT(error_text([&] { learned_by("llama"); }), HasSubstr("no token <|start_header_id|>"));
}

TEST_F(EncodeTest, PromptAndAnswerAreTheWholeTemplate) {
  for (const ChatFamily family : {ChatFamily::kQwen3, ChatFamily::kQwen2, ChatFamily::kMiniCpm4, ChatFamily::kOmni45}) {
    for (const std::string answer : {"four", "\nfour \n", "<think>\na\n\nb\n</think>\n\nfour", "<box>1</box>"}) {
      std::vector<ChatMessage> messages(2);
      messages[0].role = "user";
      messages[0].content = "2+2?";
      messages[1].role = "assistant";
      messages[1].content = answer;
      ChatTemplateOptions options;
      options.add_generation_prompt = false;
      const std::string whole = join(apply_chat_template(family, messages, options));
      options.add_generation_prompt = true;
      options.enable_thinking = has_reasoning(messages[1]);
      const ChatMessage last = messages[1];
      messages.pop_back();
      const std::string prompt = join(apply_chat_template(family, messages, options));
      EXPECT_EQ(prompt + join(answer_pieces(family, last, options.enable_thinking)) + "\n", whole) << answer;
    }
  }
}

TEST_F(EncodeTest, SoundsAreAskedAboutAsInInference) {
  ModelConfig config = tiny_.config;
  config.version = version_by_key("o26");
  config.decoder.vocab_size = 600;
  AudioConfig audio;
  audio.hidden_size = 48;
  audio.num_layers = 1;
  audio.num_heads = 3;
  audio.intermediate_size = 64;
  audio.output_size = config.decoder.hidden_size;
  audio.finish("tiny");
  config.audio = audio;
  const auto tokenizer = tiny_tokenizer(true);
  const Processor processor(config, *tokenizer);
  const Message question{"user",
                         {ContentPart::from_text("Write it."), ContentPart::from_sound({std::vector<float>(24000)})}};
  const std::vector<Message> messages = {text_message("user", "a"), text_message("assistant", "b"), question,
                                         text_message("assistant", "go on")};
  TrainingSample sample{messages, {}, "data.jsonl:17", {"go on"}};
  const EncodedSample encoded = encode_sample(processor, sample, options_);
  EXPECT_THAT(learned_texts(encoded, *tokenizer), ElementsAre("b<|im_end|>", "go on<|tts_eos|><|im_end|>"));
  EXPECT_THAT(encoded.spoken, ElementsAre(tokenizer->encode("go on", ParseSpecial::kNone)));

  ChatRequest request;
  request.messages = {messages.begin(), messages.end() - 1};
  const ModelInput prompt = processor.prepare(request).input;
  ASSERT_LT(prompt.tokens.size(), encoded.input.tokens.size());
  EXPECT_TRUE(std::ranges::equal(prompt.tokens, std::span(encoded.input.tokens).first(prompt.tokens.size())));
  ASSERT_EQ(encoded.input.media.size(), 1u);
  EXPECT_EQ(encoded.input.media[0]->spans, prompt.media[0]->spans);
  EXPECT_THAT(encoded.input.media[0]->span_rows, ElementsAre(25, 12));

  sample.spoken.push_back("more");
  EXPECT_THAT(error_text([&] { encode_sample(processor, sample, options_); }),
              HasSubstr("data.jsonl:17: 2 texts are spoken in 1 messages with sound"));
  EXPECT_THAT(error_text([&] {
                encode_sample(tiny_.processor, {messages, {}, ""}, options_);
              }),
              HasSubstr("cannot hear sound"));
}

// ---- Classes of half patches ----

TEST_F(EncodeTest, CellsOfAnUncutPicture) {
  // 112x112 stays at its size: 8 rows of 16 half columns, 7 pixels wide and 14 high.
  TrainingSample sample{{picture_message({plain_picture(112, 112)}, "Read."), text_message("assistant", "ab")},
                        {{{0, 0, 14, 28, 5}, {7, 14, 21, 56, 6}}},
                        "here"};
  const EncodedSample encoded = encode_sample(tiny_.processor, sample, options_);
  ASSERT_EQ(encoded.cells.size(), 1u);
  std::vector<int32_t> expected(8 * 16);
  expected[0] = expected[1] = expected[16] = 5;
  for (const int y : {1, 2, 3})
    expected[y * 16 + 1] = expected[y * 16 + 2] = 6;
  EXPECT_EQ(encoded.cells[0], expected);
}

TEST_F(EncodeTest, CellsFollowThePictureThroughSlices) {
  const int width = 300, height = 180;
  const LabelBox box{200, 90, 260, 170, 3};
  TrainingSample sample{
      {picture_message({plain_picture(width, height)}, "Read."), text_message("assistant", "ab")}, {{box}}, "here"};
  const EncodedSample encoded = encode_sample(tiny_.processor, sample, options_);
  const SlicePlan plan = plan_slices({width, height}, tiny_.config.slices);
  ASSERT_TRUE(plan.grid.has_value());
  const int cols = plan.grid->cols;
  ASSERT_EQ(encoded.cells.size(), 1u + static_cast<size_t>(cols * plan.grid->rows));
  int marked = 0;
  for (size_t s = 0; s < encoded.cells.size(); ++s) {
    const Patches& patches = encoded.input.media[0]->slices[s];
    const Size whole = s == 0 ? plan.overview : plan.refined;
    const int left = s == 0 ? 0 : static_cast<int>(s - 1) % cols * plan.slice.width;
    const int top = s == 0 ? 0 : static_cast<int>(s - 1) / cols * plan.slice.height;
    ASSERT_EQ(encoded.cells[s].size(), static_cast<size_t>(patches.h) * patches.w * 2);
    for (int y = 0; y < patches.h; ++y) {
      for (int x = 0; x < 2 * patches.w; ++x) {
        const double px = (left + 7 * x + 3.5) * width / whole.width;
        const double py = (top + 14 * y + 7.0) * height / whole.height;
        const bool inside = px >= box.left && px < box.right && py >= box.top && py < box.bottom;
        EXPECT_EQ(encoded.cells[s][static_cast<size_t>(y) * 2 * patches.w + x], inside ? 3 : 0)
            << s << " " << y << " " << x;
        marked += inside && s > 0;
      }
    }
  }
  EXPECT_GT(marked, 10);
}

TEST_F(EncodeTest, CellsOfFramesOfAPack) {
  ContentPart frames;
  frames.kind = ContentPart::Kind::kFrames;
  frames.images = {plain_picture(112, 112), plain_picture(112, 112)};
  frames.frame_ids = {0, 3};
  TrainingSample sample{
      {{"user", {ContentPart::from_image(plain_picture(56, 56)), frames, ContentPart::from_text("?")}},
       text_message("assistant", "left")},
      {{}, {{0, 0, 7, 14, 1}}, {{7, 0, 14, 14, 2}}},
      "here"};
  const EncodedSample encoded = encode_sample(tiny_.processor, sample, options_);
  ASSERT_EQ(encoded.cells.size(), 3u);
  EXPECT_THAT(encoded.cells[0], ::testing::Each(0));
  EXPECT_EQ(encoded.cells[1][0], 1);
  EXPECT_EQ(encoded.cells[1][1], 0);
  EXPECT_EQ(encoded.cells[2][1], 2);
  // A part's own number of slices decides, here for a frame that would be cut otherwise.
  TrainingSample video{{{"user", {frames, ContentPart::from_text("?")}}, text_message("assistant", "left")},
                       {{{0, 0, 300, 200, 1}}},
                       "here"};
  ContentPart& part = video.messages[0].content[0];
  part.images = {plain_picture(300, 200)};
  part.frame_ids = {0};
  EXPECT_GT(encode_sample(tiny_.processor, video, options_).cells.size(), 1u);
  part.max_slices = 1;
  const EncodedSample uncut = encode_sample(tiny_.processor, video, options_);
  ASSERT_EQ(uncut.cells.size(), 1u);
  EXPECT_THAT(uncut.cells[0], ::testing::Each(1));

  sample.boxes.pop_back();
  EXPECT_THAT(error_text([&] { encode_sample(tiny_.processor, sample, options_); }),
              HasSubstr("here: 2 lists of label boxes for 3 pictures"));
}

}  // namespace
}  // namespace minicpm
