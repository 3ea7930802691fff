// The case of the speech decoder: speaker, text, codes, mel frames and samples, whole and in chunks.
#include <algorithm>
#include <map>

#include "base/file_map.h"
#include "engine/speech_stream.h"
#include "eval/case_data.h"
#include "io/safetensors.h"
#include "media/sound.h"
#include "media/vocoder_mel.h"
#include "models/cross_fade.h"
#include "models/model_config.h"
#include "models/speech_decoder.h"
#include "models/tensor_loader.h"

namespace minicpm {
namespace {

constexpr size_t kMaxCaseBytes = 64u << 20;
constexpr int kRoundFrames = 25;

struct Recorder : Tracer {
  void record(std::string_view name, const Tensor& value) override {
    tensors[std::string(name)] = {value.f32(), value.f32() + value.numel()};
  }
  std::map<std::string, std::vector<float>> tensors;
};

std::vector<float> transposed(const Tensor& x) {
  std::vector<float> result(static_cast<size_t>(x.numel()));
  for (int64_t r = 0; r < x.dim(0); ++r) {
    for (int64_t c = 0; c < x.dim(1); ++c)
      result[c * x.dim(0) + r] = x.f32_row(r)[c];
  }
  return result;
}

class SpeechCase {
 public:
  SpeechCase(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report)
      : folder_(folder),
        json_(parse_json(read_file(folder / "case.json", kMaxCaseBytes), (folder / "case.json").string())),
        expected_(open_safetensors(folder / "expected.safetensors")),
        inputs_(open_safetensors(folder / "inputs.safetensors")),
        weights_(open_safetensors(folder / "model.safetensors")),
        vocos_weights_(open_safetensors(folder / "vocos.safetensors")),
        checker_(json_.at("case").get<std::string>(), *expected_, report),
        backend_(make_cpu_backend(options.backend)),
        decoder_(read_speech_config(folder / "config.json"), *weights_, store_),
        dvae_(*weights_, store_),
        vocos_(*vocos_weights_, store_) {
    for (const int64_t id : read_ints(*inputs_, "text_input_ids"))
      text_.push_back(static_cast<int32_t>(id));
    text_tokens_ = json_.at("num_text_tokens_in_prompt").get<int64_t>();
    const auto codes = read_ints(*inputs_, "teacher_codes");
    for (size_t i = 0; i + 4 <= codes.size(); i += 4) {
      teacher_.push_back({static_cast<int32_t>(codes[i]), static_cast<int32_t>(codes[i + 1]),
                          static_cast<int32_t>(codes[i + 2]), static_cast<int32_t>(codes[i + 3])});
    }
  }

  void run() {
    check_speaker_and_text();
    check_visibility();
    check_teacher();
    check_greedy();
    check_prefilled_audio();
    check_dvae();
    check_vocos();
    check_stream();
    checker_.finish();
  }

 private:
  Context context(Arena& arena) { return {*backend_, arena, Precision::kExact, &recorder_}; }

  /// [rows, hidden] of the last run with heads before rows.
  std::vector<float> heads_first(const std::string& name) const {
    const std::vector<float>& values = recorder_.tensors.at(name);
    const SpeechConfig& c = decoder_.config();
    const int64_t d = c.hidden_size / c.num_heads, rows = static_cast<int64_t>(values.size()) / c.hidden_size;
    std::vector<float> result;
    for (int64_t h = 0; h < c.num_heads; ++h) {
      for (int64_t r = 0; r < rows; ++r) {
        const float* from = values.data() + (r * c.num_heads + h) * d;
        result.insert(result.end(), from, from + d);
      }
    }
    return result;
  }

  std::span<const int32_t> first_text() const { return std::span(text_).first(2 + decoder_.config().text_chunk); }

  void check_speaker_and_text() {
    Arena arena;
    Context ctx = context(arena);
    speaker_ = decoder_.speaker(ctx, read_floats(*inputs_, "spk_hidden"));
    checker_.check_floats("spk_projected", recorder_.tensors.at("speech.speaker"));
    SpeechCache cache(decoder_.config());
    decoder_.prefill_text(ctx, cache, first_text(), 0, speaker_);
    checker_.check_floats("text_embeds", recorder_.tensors.at("speech.text"));
    for (int64_t i = 0; i < decoder_.config().num_layers; ++i)
      checker_.check_floats(fmt::format("prefill/k{}", i), heads_first(fmt::format("speech.k{}", i)));
    checker_.check_floats("prefill/v0", heads_first("speech.v0"));
  }

  void check_visibility() {
    const SpeechConfig& c = decoder_.config();
    for (const StoredTensor& tensor : expected_->tensors()) {
      if (!tensor.name.starts_with("visible/")) continue;
      const int64_t frames = std::stoll(tensor.name.substr(8)), position = c.slots() + frames;
      std::vector<int64_t> visible;
      for (int64_t j = 0; j <= position; ++j)
        visible.push_back(j < c.visible_slots(position, text_tokens_) || j > c.slots() ? 1 : 0);
      checker_.check_ints(tensor.name, visible);
    }
  }

  void check_teacher() {
    Arena arena;
    Context ctx = context(arena);
    SpeechCache cache(decoder_.config());
    decoder_.prefill_text(ctx, cache, first_text(), 0, speaker_);
    SpeechSampling sampling;
    sampling.repetition_penalty = 1.05f;
    std::vector<float> all, probabilities;
    std::vector<int64_t> kept;
    for (size_t i = 0; i < teacher_.size(); ++i) {
      const Tensor logits = decoder_.step(ctx, cache, i == 0 ? nullptr : &teacher_[i - 1], text_tokens_);
      all.insert(all.end(), logits.f32(), logits.f32() + logits.numel());
      for (int q = 0; q < kCodebooks; ++q) {
        const std::vector<float> p =
            code_probabilities(std::span(logits.f32_row(q), static_cast<size_t>(logits.dim(1))), q,
                               std::span(teacher_).first(i), sampling);
        probabilities.insert(probabilities.end(), p.begin(), p.end());
        for (size_t k = 0; i > 0 && k < p.size(); ++k)
          kept.push_back(p[k] > 0 ? 1 : 0);
      }
    }
    checker_.check_floats("teacher/logits", all);
    checker_.check_floats("teacher/probs", probabilities, 1e-3);
    checker_.check_ints("teacher/kept", kept);
  }

  /// Rounds of the next text and 25 frames each, always the likeliest code but the end.
  void check_greedy() {
    const SpeechConfig& c = decoder_.config();
    const int64_t rounds = read_shape(*expected_, "greedy/codes")[0] / kRoundFrames;
    SpeechCache cache(c);
    std::vector<int64_t> codes;
    std::vector<float> margins, last;
    for (int64_t round = 0; round < rounds; ++round) {
      Arena arena;
      Context ctx = context(arena);
      const int64_t begin = round == 0 ? 0 : std::min(2 + c.text_chunk * round, c.slots());
      const int64_t end = std::min(2 + c.text_chunk * (round + 1), c.slots());
      decoder_.prefill_text(ctx, cache, std::span(text_).subspan(begin, end - begin), begin, speaker_);
      last.clear();
      for (int i = 0; i < kRoundFrames; ++i) {
        const Tensor logits = decoder_.step(ctx, cache, greedy_.empty() ? nullptr : &greedy_.back(), text_tokens_);
        last.insert(last.end(), logits.f32(), logits.f32() + logits.numel());
        CodeFrame frame;
        for (int q = 0; q < kCodebooks; ++q) {
          const float *row = logits.f32_row(q), *end_of_row = row + c.end_code();
          frame[q] = static_cast<int32_t>(std::max_element(row, end_of_row) - row);
          std::vector<float> sorted(row, end_of_row);
          std::ranges::partial_sort(sorted, sorted.begin() + 2, std::greater<>());
          margins.push_back(sorted[0] - sorted[1]);
          codes.push_back(frame[q]);
        }
        greedy_.push_back(frame);
      }
    }
    checker_.check_ints("greedy/codes", codes);
    checker_.check_floats("greedy/margin", margins, 1e-3);
    checker_.check_floats("greedy/logits_last25", last);
  }

  void check_prefilled_audio() {
    Arena arena;
    Context ctx = context(arena);
    SpeechCache cache(decoder_.config());
    decoder_.prefill_text(ctx, cache, first_text(), 0, speaker_);
    const int64_t frames = read_shape(*expected_, "prefill_audio/k_last")[2] - 1;
    decoder_.prefill_audio(ctx, cache, std::span(teacher_).first(static_cast<size_t>(frames)), text_tokens_);
    checker_.check_floats("prefill_audio/k_last",
                          heads_first(fmt::format("speech.k{}", decoder_.config().num_layers - 1)));
  }

  void check_dvae() {
    Arena arena;
    Context ctx = context(arena);
    checker_.check_floats("dvae/vq_feats", transposed(dvae_.features(ctx, greedy_)));
    checker_.check_floats("dvae/mel", transposed(dvae_.decode(ctx, greedy_)));
    checker_.check_floats("dvae/mel_teacher", transposed(dvae_.decode(ctx, teacher_)));

    SoundOptions options;
    options.rate = kSpeechRate;
    MelFrames mel = vocoder_mel(read_sound(folder_ / "ref24k.wav", options).samples);
    const Tensor frames(mel.values.data(), DType::kF32, {mel.frames, mel.bins});
    checker_.check_floats("mel24k", transposed(frames));
    checker_.check_floats("vocos/mel_filters", vocoder_mel_filters());
    checker_.check_floats("vocos/wav_ref", vocos_.decode(ctx, frames));
    const std::vector<CodeFrame> codes = dvae_.encode(ctx, frames);
    std::vector<int64_t> by_codebook;
    for (int q = 0; q < kCodebooks; ++q) {
      for (const CodeFrame& frame : codes)
        by_codebook.push_back(frame[q]);
    }
    checker_.check_ints("dvae/encode", by_codebook);
  }

  void check_vocos() {
    Arena arena;
    Context ctx = context(arena);
    const std::vector<float> wave = vocos_.decode(ctx, dvae_.decode(ctx, greedy_));
    checker_.check_floats("vocos/backbone", recorder_.tensors.at("vocos.backbone"));
    checker_.check_floats("vocos/wav", wave);
    const auto faded = cross_fade(std::span(wave).first(6000), std::span(wave).subspan(4000, 7000));
    checker_.check_floats("overlap/first", std::span(faded).first(6000));
    checker_.check_floats("overlap/second", std::span(faded).subspan(6000));
  }

  /// The greedy codes round by round.
  void check_stream() {
    std::vector<float> given;
    SpeechSound sound(dvae_, vocos_,
                      [&](std::span<const float> samples) { given.assign(samples.begin(), samples.end()); });
    for (size_t round = 0; checker_.has(fmt::format("stream/wav.{}", round)); ++round) {
      Arena arena;
      Context ctx = context(arena);
      const size_t begin = round * kRoundFrames;
      sound.add(sound.decode(ctx, std::span(greedy_).first(begin + kRoundFrames), begin).wave, false);
      checker_.check_floats(fmt::format("stream/wav.{}", round), given);
    }
    sound.flush();
    checker_.check_floats("stream/wav.tail", given);
  }

  std::filesystem::path folder_;
  Json json_;
  std::unique_ptr<WeightSource> expected_, inputs_, weights_, vocos_weights_;
  CaseChecker checker_;
  std::unique_ptr<Backend> backend_;
  ConvertedStore store_;
  SpeechDecoder decoder_;
  Dvae dvae_;
  Vocos vocos_;
  Recorder recorder_;
  std::vector<int32_t> text_;
  int64_t text_tokens_ = 0;
  std::vector<CodeFrame> teacher_, greedy_;
  std::vector<float> speaker_;
};

}  // namespace

void verify_speech(const std::filesystem::path& folder, const VerifyOptions& options, const VerifyReporter& report) {
  SpeechCase(folder, options, report).run();
}

}  // namespace minicpm
