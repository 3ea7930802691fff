#include "engine/omni_session.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "engine/omni_stages.h"
#include "engine/runner.h"

namespace minicpm {
namespace {

void check(bool good, const char* name, double value, const char* range) {
  if (!good) fail(ErrorCode::kInvalidRequest, "live session: {} is {}, expected {}", name, value, range);
}

/// Full scale at most; what is no number is silence.
std::vector<float> clean(std::span<const float> samples) {
  std::vector<float> result(samples.begin(), samples.end());
  for (float& sample : result)
    sample = std::isnan(sample) ? 0.0f : std::clamp(sample, -1.0f, 1.0f);
  return result;
}

class Session : public OmniSession {
 public:
  Session(OmniParts parts, const OmniConfig& config)
      : parts_(std::move(parts)),
        perceiver_(shared_, *parts_.processor, *parts_.encoder, std::move(parts_.detector),
                   std::make_shared<const OmniConfig>(config)),
        thinker_(shared_, *parts_.processor, *parts_.stream, static_cast<bool>(parts_.voice)),
        role_(config.role) {
    stages_.emplace_back([this] { perceiver_.run(); });
    stages_.emplace_back([this] { thinker_.run(); });
    stages_.emplace_back([this] { run_omni_speaker(shared_, parts_.voice); });
    stages_.emplace_back([this] {
      run_omni_renderer(shared_);
      OmniEvent event;
      event.kind = OmniEvent::Kind::kClosed;
      event.text = shared_.close_reason();
      shared_.tell(std::move(event));
      shared_.output.close();
    });
  }

  ~Session() override {
    shared_.close("closed");
    shared_.output.close();
    for (std::thread& stage : stages_)
      stage.join();
  }

  bool push_audio(std::span<const float> samples) override {
    constexpr size_t kMost = static_cast<size_t>(kAudioRate);  // of one item, so that the bound of the queue holds
    while (!samples.empty()) {
      OmniInput item = input(OmniInput::Kind::kSound);
      item.samples = clean(samples.first(std::min(samples.size(), kMost)));
      samples = samples.subspan(item.samples.size());
      if (!shared_.input.push(std::move(item))) return false;
    }
    return !shared_.closed();
  }

  bool push_frame(std::shared_ptr<const Image> picture) override {
    if (picture == nullptr) fail(ErrorCode::kInvalidRequest, "live session: a frame without a picture");
    OmniInput item = input(OmniInput::Kind::kPicture);
    item.picture = std::move(picture);
    return shared_.input.push(std::move(item));
  }

  bool push_parts(std::vector<ContentPart> parts) override {
    OmniInput item = input(OmniInput::Kind::kParts);
    for (ContentPart& part : parts) {
      if (part.sound != nullptr) part.sound = std::make_shared<const std::vector<float>>(clean(*part.sound));
    }
    item.parts = std::move(parts);
    return shared_.input.push(std::move(item));
  }

  bool end_turn() override { return ask(OmniInput::Kind::kEndTurn); }
  bool answer() override { return ask(OmniInput::Kind::kAnswer); }
  bool drop_turn() override { return shared_.input.push(input(OmniInput::Kind::kDrop)); }
  bool keep_turn() override { return shared_.input.push(input(OmniInput::Kind::kKeep)); }

  bool cut_answer(int64_t turn, double share) override {
    check(share >= 0 && share <= 1, "the heard share of an answer", share, "0 to 1");
    OmniInput item = input(OmniInput::Kind::kCut);
    item.cut = {turn, share};
    return shared_.input.push(std::move(item));
  }

  bool finish() override { return shared_.input.push(input(OmniInput::Kind::kFinish)); }

  void interrupt() override { shared_.interrupt(); }

  bool configure(const OmniConfig& config) override {
    validate(config);
    OmniInput item = input(OmniInput::Kind::kConfigure);
    item.config = std::make_shared<const OmniConfig>(config);
    {
      const std::lock_guard lock(role_mutex_);
      if (role_ != config.role) shared_.interrupt();
      role_ = config.role;
    }
    return shared_.input.push(std::move(item));
  }

  void played(int64_t samples) override { shared_.played(samples); }

  std::optional<OmniEvent> next_event(std::chrono::milliseconds wait) override {
    std::optional<OmniOutput> output = shared_.output.pop(OmniClock::now() + wait);
    if (!output) return std::nullopt;
    return std::move(output->event);
  }

  void close() override { shared_.close("closed"); }

 private:
  static OmniInput input(OmniInput::Kind kind) {
    OmniInput item;
    item.kind = kind;
    item.pushed = OmniClock::now();
    return item;
  }

  bool ask(OmniInput::Kind kind) {
    OmniInput item = input(kind);
    item.epoch = shared_.epoch();
    return shared_.input.push(std::move(item)) || !shared_.closed();
  }

  OmniParts parts_;
  OmniShared shared_;
  OmniPerceiver perceiver_;
  OmniThinker thinker_;
  std::mutex role_mutex_;
  OmniRole role_;  // of the newest settings
  std::vector<std::thread> stages_;
};

/// The model's towers on a backend of their own, since the language model works at the same time.
class TowerEncoder : public PieceEncoder {
 public:
  TowerEncoder(const LoadedModel& model, const BackendOptions& backend, Precision precision)
      : model_(model), backend_(make_cpu_backend(backend)), precision_(choose_media_precision(precision)) {}

  ModelInput encode(const ModelInput& piece) override {
    ModelInput encoded{piece.tokens, {}};
    for (const auto& media : piece.media)
      encoded.media.push_back(encode(*media));
    return encoded;
  }
  void restart() override { cache_ = {}; }

 private:
  std::shared_ptr<const MediaItem> encode(const MediaItem& media) {
    ArenaScope scratch(arena_);
    Context ctx{*backend_, arena_, precision_, nullptr};
    std::vector<float> rows;
    if (media.is_sound()) {
      for (const MelFrames& part : media.sounds) {
        const Tensor made = model_.audio().forward(ctx, part, cache_);
        rows.insert(rows.end(), made.f32(), made.f32() + made.numel());
      }
    } else {
      std::vector<const Patches*> slices;
      for (const Patches& slice : media.slices)
        slices.push_back(&slice);
      const Tensor made = model_.encode(ctx, slices, media.groups);
      rows.assign(made.f32(), made.f32() + made.numel());
    }
    auto item = std::make_shared<MediaItem>();
    item->groups = media.groups;
    item->spans = media.spans;
    item->span_rows = media.span_rows;
    item->sounds.resize(media.sounds.size());
    item->rows = std::make_shared<const std::vector<float>>(std::move(rows));
    return item;
  }

  const LoadedModel& model_;
  std::unique_ptr<Backend> backend_;
  Precision precision_;
  Arena arena_;
  AudioCache cache_;
};

}  // namespace

void validate(const OmniConfig& config) {
  validate(config.turns);
  validate(config.sampling);
  check(config.hd_slices >= 1 && config.hd_slices <= 9, "hd_slices", config.hd_slices, "1 to 9");
  check(config.gap_seconds > 0 && config.gap_seconds <= 3600, "gap_seconds", config.gap_seconds,
        "more than 0, at most 3600");
  check(config.idle_seconds > 0 && config.idle_seconds <= 1e6, "idle_seconds", config.idle_seconds,
        "more than 0, at most 1000000");
  check(config.context_limit >= 64, "context_limit", static_cast<double>(config.context_limit), "at least 64 tokens");
  check(config.slide_to > 0 && config.slide_to <= 1, "slide_to", config.slide_to, "more than 0, at most 1");
  if (config.sampling.num_beams > 1 && !config.sampling.do_sample) {
    fail(ErrorCode::kInvalidRequest, "live session: beam search gives its text at the end only");
  }
  if (config.role.voice != nullptr && config.role.voice->size() > static_cast<size_t>(kMaxMelSamples)) {
    fail(ErrorCode::kInvalidRequest, "live session: the voice has {:.1f} seconds, expected at most 30",
         static_cast<double>(config.role.voice->size()) / static_cast<double>(kAudioRate));
  }
}

std::string_view name(OmniEvent::Kind kind) {
  constexpr std::string_view kNames[] = {"ready",       "turn_begins", "turn_ends", "turn_heard", "text",  "audio",
                                         "answer_ends", "silence",     "forgotten", "error",      "closed"};
  return kNames[static_cast<size_t>(kind)];
}

std::unique_ptr<OmniSession> OmniSession::open(OmniParts parts, const OmniConfig& config) {
  validate(config);
  if (parts.processor == nullptr || parts.stream == nullptr || parts.encoder == nullptr) {
    fail(ErrorCode::kInvalidRequest, "live session: a part is missing");
  }
  return std::make_unique<Session>(std::move(parts), config);
}

std::unique_ptr<PieceEncoder> make_piece_encoder(const LoadedModel& model, const BackendOptions& backend,
                                                 Precision precision) {
  return std::make_unique<TowerEncoder>(model, backend, precision);
}

}  // namespace minicpm
