// Live sessions without a model: a tokenizer of letters, a stream that writes down what it is given, and a voice that
// makes recognisable samples.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "engine/omni_session.h"
#include "models/versions.h"

namespace minicpm::testing {

/// A token for each mark of the family and each byte.
class LetterTokenizer : public Tokenizer {
 public:
  LetterTokenizer() {
    int32_t id = 1000;
    for (const char* text : {"<unk>",    "<|im_start|>", "<|im_end|>",      "<|endoftext|>", "<image>",
                             "</image>", "<slice>",      "</slice>",        "<image_id>",    "</image_id>",
                             "<unit>",   "</unit>",      "<|audio_start|>", "<|audio_end|>", "<|spk_bos|>",
                             "<|spk|>",  "<|spk_eos|>",  "<|tts_bos|>",     "<|tts_eos|>",   "<reserved_53>"}) {
      added_.push_back({text, id++, true});
    }
  }
  std::vector<int32_t> encode(std::string_view text, ParseSpecial special) const override {
    std::vector<int32_t> ids;
    while (!text.empty()) {
      const auto mark =
          std::ranges::find_if(added_, [&](const AddedToken& token) { return text.starts_with(token.text); });
      const bool found = special == ParseSpecial::kAll && mark != added_.end();
      ids.push_back(found ? mark->id : static_cast<unsigned char>(text[0]));
      text.remove_prefix(found ? mark->text.size() : 1);
    }
    return ids;
  }
  std::vector<int32_t> encode(std::span<const PromptPiece> pieces) const override {
    std::vector<int32_t> ids;
    for (const PromptPiece& piece : pieces) {
      const auto part = encode(piece.text, piece.control ? ParseSpecial::kAll : ParseSpecial::kNone);
      ids.insert(ids.end(), part.begin(), part.end());
    }
    return ids;
  }
  std::string token_bytes(int32_t id) const override {
    if (id >= 1000) return added_.at(static_cast<size_t>(id - 1000)).text;
    return std::string(1, static_cast<char>(id));
  }
  std::string decode(std::span<const int32_t> ids, bool) const override {
    std::string text;
    for (const int32_t id : ids)
      text += token_bytes(id);
    return text;
  }
  int32_t vocab_size() const override { return 1000 + static_cast<int32_t>(added_.size()); }
  std::optional<int32_t> token_id(std::string_view text) const override {
    const auto found = std::ranges::find(added_, text, &AddedToken::text);
    return found == added_.end() ? std::nullopt : std::optional(found->id);
  }
  bool is_special(int32_t id) const override { return id >= 1000; }
  const std::vector<AddedToken>& added_tokens() const override { return added_; }
  std::optional<int32_t> bos_id() const override { return std::nullopt; }
  std::optional<int32_t> eos_id() const override { return std::nullopt; }
  std::string description() const override { return "letters"; }

 private:
  std::vector<AddedToken> added_;
};

/// MiniCPM-o 2.6 with the places of the published model and no networks.
inline ModelConfig live_config() {
  ModelConfig config;
  config.version = version_by_key("o26");
  config.source = "live";
  ResamplerConfig resampler;
  resampler.query_num = 64;
  config.resampler = resampler;
  config.audio.emplace();
  config.audio->hidden_size = 64;
  config.audio->num_heads = 1;
  config.audio->output_size = 4;
  config.slices.scale_resolution = 448;
  return config;
}

/// What a FakeStream does and did; outlives it.
struct StreamScript {
  std::string answer = "Hello!<|tts_eos|>";      // marks are tokens, then a stop token comes
  std::function<void(const char* where)> pause;  // called before each step: "append", "token", "erase"
  int64_t capacity = 1 << 20;
  std::mutex mutex;
  std::vector<int32_t> tokens;
  std::vector<std::shared_ptr<const MediaItem>> media;
  std::vector<std::pair<int64_t, int64_t>> erased;

  /// The tokens as text, placeholders as their number: "<image>64</image>".
  std::string text(const Tokenizer& tokenizer) {
    const std::lock_guard lock(mutex);
    std::string result;
    const int32_t unknown = *tokenizer.token_id("<unk>");
    for (size_t i = 0; i < tokens.size();) {
      size_t n = 0;
      while (i + n < tokens.size() && tokens[i + n] == unknown)
        ++n;
      result += n > 0 ? std::to_string(n) : tokenizer.token_bytes(tokens[i]);
      i += std::max<size_t>(n, 1);
    }
    return result;
  }
};

class FakeStream : public TokenStream {
 public:
  FakeStream(StreamScript& script, const Tokenizer& tokenizer) : script_(script), tokenizer_(tokenizer) {}

  void append(const ModelInput& piece, const std::atomic<bool>*) override {
    pause("append");
    const std::lock_guard lock(script_.mutex);
    const auto first = static_cast<int64_t>(script_.tokens.size());
    if (first + static_cast<int64_t>(piece.tokens.size()) > script_.capacity) {
      fail(ErrorCode::kOutOfMemory, "the context is full");
    }
    check_media(piece);
    script_.tokens.insert(script_.tokens.end(), piece.tokens.begin(), piece.tokens.end());
    for (const auto& media : piece.media) {
      auto moved = std::make_shared<MediaItem>(*media);
      for (int64_t& span : moved->spans)
        span += first;
      script_.media.push_back(std::move(moved));
    }
    hidden_.assign(4, static_cast<float>(script_.tokens.size()));
  }
  std::span<const float> last_hidden() const override { return hidden_; }
  FinishReason generate(const SamplingParams& params, const std::function<bool(int32_t)>& on_token,
                        const std::atomic<bool>* cancel) override {
    int made = 0;
    for (const int32_t id : tokenizer_.encode(script_.answer, ParseSpecial::kAll)) {
      pause("token");
      if (cancel->load()) return FinishReason::kCancelled;
      if (made++ == params.max_tokens) return FinishReason::kLength;
      {
        const std::lock_guard lock(script_.mutex);
        script_.tokens.push_back(id);
      }
      if (on_token(id)) return FinishReason::kStop;
    }
    return FinishReason::kStop;
  }
  int64_t size() const override {
    const std::lock_guard lock(script_.mutex);
    return static_cast<int64_t>(script_.tokens.size());
  }
  void erase(int64_t first, int64_t count) override {
    pause("erase");
    const std::lock_guard lock(script_.mutex);
    auto& tokens = script_.tokens;
    if (first < 0 || count < 0 || first + count > static_cast<int64_t>(tokens.size())) {
      fail(ErrorCode::kInternal, "erase out of range");
    }
    tokens.erase(tokens.begin() + first, tokens.begin() + first + count);
    std::erase_if(script_.media, [&](const auto& media) {
      return media->spans.front() >= first && media->spans.front() < first + count;
    });
    for (auto& media : script_.media) {
      if (media->spans.front() < first) continue;
      auto moved = std::make_shared<MediaItem>(*media);
      for (int64_t& span : moved->spans)
        span -= count;
      media = std::move(moved);
    }
    script_.erased.emplace_back(first, count);
  }

 private:
  void pause(const char* where) {
    if (script_.pause) script_.pause(where);
  }
  // Each placeholder has its row.
  void check_media(const ModelInput& piece) const {
    const int32_t unknown = *tokenizer_.token_id("<unk>");
    const auto places = std::ranges::count(piece.tokens, unknown);
    int64_t rows = 0;
    for (const auto& media : piece.media) {
      if (media->rows == nullptr) fail(ErrorCode::kInternal, "media without rows");
      rows += static_cast<int64_t>(media->rows->size());
      for (const int64_t span : media->spans) {
        if (piece.tokens.at(static_cast<size_t>(span)) != unknown)
          fail(ErrorCode::kInternal, "a span in a wrong place");
      }
    }
    if (rows != places) fail(ErrorCode::kInternal, "{} rows for {} places", rows, places);
  }

  StreamScript& script_;
  const Tokenizer& tokenizer_;
  std::vector<float> hidden_;
};

/// A row of one value for each place; the value counts the sounds since the last restart.
class FakeEncoder : public PieceEncoder {
 public:
  explicit FakeEncoder(std::function<void(const char*)> pause = {}) : pause_(std::move(pause)) {}
  ModelInput encode(const ModelInput& piece) override {
    if (pause_) pause_("encode");
    ModelInput result{piece.tokens, {}};
    for (const auto& media : piece.media) {
      auto item = std::make_shared<MediaItem>();
      item->groups = media->groups;
      item->spans = media->spans;
      item->span_rows = media->span_rows;
      item->sounds.resize(media->sounds.size());
      size_t rows = 64 * media->groups.size();
      if (media->is_sound()) {
        ++heard_;
        rows = 0;
        for (const int64_t count : media->span_rows)
          rows += static_cast<size_t>(count);
      }
      item->rows = std::make_shared<const std::vector<float>>(rows, static_cast<float>(heard_));
      result.media.push_back(std::move(item));
    }
    return result;
  }
  void restart() override { heard_ = 0; }

 private:
  std::function<void(const char*)> pause_;
  int heard_ = 0;
};

/// `samples` for each byte, whose value is that of the speaker's state: the tokens before the answer.
class FakeVoice : public AnswerVoice {
 public:
  FakeVoice(std::vector<float> speaker, std::function<void(std::span<const float>)> on_samples, size_t samples,
            std::function<void(const char*)> pause)
      : value_(speaker.front()), on_samples_(std::move(on_samples)), samples_(samples), pause_(std::move(pause)) {}
  void push(std::string_view text) override {
    for (size_t i = 0; i < text.size(); ++i) {
      if (pause_) pause_("speak");
      on_samples_(std::vector<float>(samples_, value_));
    }
  }
  void finish() override {
    if (pause_) pause_("finish");
  }

 private:
  float value_;
  std::function<void(std::span<const float>)> on_samples_;
  size_t samples_;
  std::function<void(const char*)> pause_;
};

/// Loud is speech.
class LoudDetector : public VoiceDetector {
 public:
  float judge(std::span<const float> frame) override {
    return std::ranges::any_of(frame, [](float sample) { return std::abs(sample) > 0.1f; }) ? 1.0f : 0.0f;
  }
  std::string_view name() const override { return "loud"; }
};

}  // namespace minicpm::testing
