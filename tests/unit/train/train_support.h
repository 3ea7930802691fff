// What tests of the training data share: a processor of MiniCPM-V 4.5's kind without weights, and short conversations.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../tools/checkpoint/vocabulary.h"
#include "engine/processor.h"
#include "support/random_model.h"
#include "text/tokenizer_loader.h"
#include "train/encode.h"

namespace minicpm::testing {

/// A vocabulary in which line ends merge, as in the published one.
inline std::unique_ptr<Tokenizer> tiny_tokenizer(bool sound = false) {
  Vocabulary vocabulary = make_vocabulary(512, sound);
  vocabulary.tokens[vocabulary.fillers_begin] = "ĊĊ";
  vocabulary.merges.emplace_back("Ċ Ċ");
  return make_tokenizer_from_json(tokenizer_json(vocabulary), "tiny");
}

struct TinyProcessor {
  TinyProcessor() : config(tiny_config()), tokenizer(tiny_tokenizer()), processor(config, *tokenizer) {}
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
  Processor processor;
};

inline std::shared_ptr<const Image> plain_picture(int width, int height) {
  auto image = std::make_shared<Image>();
  image->width = width;
  image->height = height;
  image->rgb.resize(static_cast<size_t>(width) * height * 3, 128);
  return image;
}

inline Message text_message(std::string role, std::string text) {
  return {std::move(role), {ContentPart::from_text(std::move(text))}};
}

inline Message picture_message(std::vector<std::shared_ptr<const Image>> pictures, std::string text) {
  Message message{"user", {}};
  for (auto& picture : pictures)
    message.content.push_back(ContentPart::from_image(std::move(picture)));
  message.content.push_back(ContentPart::from_text(std::move(text)));
  return message;
}

/// The texts that are learned, one string for each run of learned tokens.
inline std::vector<std::string> learned_texts(const EncodedSample& sample, const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < sample.labels.size(); ++i) {
    if (sample.labels[i] == kIgnoreLabel) continue;
    EXPECT_EQ(sample.labels[i], sample.input.tokens[i]);
    if (i == 0 || sample.labels[i - 1] == kIgnoreLabel) texts.emplace_back();
    texts.back() += tokenizer.token_bytes(sample.labels[i]);
  }
  return texts;
}

/// The message of the Error that `call` throws; fails the test if it throws none.
template <typename Call>
std::string error_text(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

}  // namespace minicpm::testing
