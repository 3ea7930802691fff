// Chat with a model: the interface that the command line, the server and embedding programs use.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/registry.h"
#include "base/file_map.h"
#include "base/json.h"
#include "base/siphash.h"
#include "engine/sampler.h"
#include "media/image.h"

namespace minicpm {

/// Where a model comes from.
struct ModelSpec {
  std::string model;      // a Hugging Face folder or a GGUF file
  std::string mmproj;     // the projector file of a GGUF pair; empty: the mmproj*.gguf beside the model, if any
  std::string lora = {};  // folder of an adapter in the layout of PEFT, applied without changing the weights; or empty
  float lora_scale = 1.0f;  // multiplies the adapter's own scale; whole modules are taken as they are
};

/// Guesses that one step checks together, so that several tokens come of it (docs/drafts.md). They change no answer.
struct DraftOptions {
  bool lookup = false;  // what followed where the last tokens stood before
  std::string model;    // what a smaller model with the same vocabulary takes for likely; empty: none
  int64_t tokens = 8;   // guesses of a step at most

  bool any() const { return lookup || !model.empty(); }
};

struct EngineOptions {
  BackendOptions backend;
  int64_t context_tokens = 0;  // of one sequence at most; 0: the model's limit, at most the next
  int64_t default_context = 8192;
  int64_t cache_tokens = 0;     // room in the KV cache over all sequences; 0: that of one
  DType kv_type = DType::kF16;  // of the KV cache: f16, bf16, q8_0 or f32
  int64_t prefill_chunk = 512;  // prompt tokens per step
  Precision precision = Precision::kFast;
  Precision media_precision = Precision::kHalf;  // of towers and encoders, unless precision is exact
  ImageLimits image_limits;
  DraftOptions drafts;
  FileAccess weight_access = FileAccess::kAuto;
  int64_t media_cache_bytes = 256ll << 20;  // of encoded pictures and sounds, so that they are encoded once
  /// Of the digests that tell media apart. Sessions with media go on in engines with the same one only, and whoever
  /// knows it can make media that are taken for each other. Unset: drawn.
  std::optional<SipKey> media_key = {};
};

/// One part of a message's content: text, a picture, a pack of video frames, or sound.
struct ContentPart {
  enum class Kind { kText, kImage, kFrames, kSound };
  Kind kind = Kind::kText;
  std::string text;
  bool control = false;                              // of text that the program made: special tokens in it count
  std::vector<std::shared_ptr<const Image>> images;  // one picture, or the frames of one pack
  std::vector<int32_t> frame_ids;  // kFrames: time of each frame in units of 0.1 s; none for models without packs
  std::shared_ptr<const std::vector<float>> sound;  // kSound: mono samples at 16 kHz
  std::optional<int> max_slices;                    // of this part's pictures; unset: the request's
  std::optional<bool> use_image_id;                 // likewise

  static ContentPart from_text(std::string text);
  static ContentPart from_image(std::shared_ptr<const Image> image);
  static ContentPart from_sound(std::vector<float> samples);

  /// Pictures or frames.
  bool is_visual() const { return kind == Kind::kImage || kind == Kind::kFrames; }
};

struct Message {
  std::string role;  // "system", "user", "assistant", or "tool" for the result of a call
  std::vector<ContentPart> content;
  std::optional<std::string> reasoning = {};  // of the assistant's
  /// Of the assistant's: [{"function": {"name", "arguments"}}, ...]; null: none. Results follow in the same order.
  Json tool_calls = nullptr;
};

/// What the model may call.
struct ToolUse {
  Json tools;           // [{"type": "function", "function": {"name", "description", "parameters": SCHEMA}}, ...]
  bool must = false;    // the answer is nothing but calls
  std::string only;     // the one that may be called; empty: any
  bool several = true;  // calls in one answer
};

/// Who goes first where several want the engine.
enum class Priority { kBackground = -1, kInteractive = 0, kLive = 1 };

struct ChatRequest {
  std::vector<Message> messages;
  SamplingParams sampling;        // start from Engine::default_sampling
  std::vector<std::string> stop;  // stop strings; not part of the answer
  bool thinking = false;
  bool speech = false;               // the speech template, which prompts with sound have anyway
  std::optional<int> max_slices;     // unset: the model's own (9)
  std::optional<bool> use_image_id;  // unset: the model's own (on for pictures)
  /// The answer (behind the reasoning) is JSON that satisfies this schema; {"type": "object"} is any object. See
  /// text/json_schema.h for what is supported. Not with beam search.
  std::optional<Json> json_schema;
  /// Calls in the answer have the form that their tools' schemas want, see text/tool_calls.h. For models whose template
  /// has tools; not with beam search or json_schema.
  std::optional<ToolUse> tools;
  /// Takes the place of the messages: the prompt as it is, without a template. Then the answer's text is whole, with
  /// the blanks at its ends, and there is no thinking.
  std::optional<std::vector<int32_t>> prompt_tokens;
  /// What requests of one scope computed is used again by others of that scope, which can be told from the time to
  /// the first token: give each client its own where they must not learn of each other.
  std::string cache_scope;
  Priority priority = Priority::kInteractive;
};

enum class FinishReason { kStop, kLength, kCancelled };
std::string_view name(FinishReason reason);  // "stop", "length", "cancelled"

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, computed by an earlier request
  int64_t image_tokens = 0;   // of the prompt
  int64_t audio_tokens = 0;   // likewise
  int64_t images = 0;         // still pictures
  int64_t frames = 0;         // of videos
  int64_t slices = 0;         // of both
};

struct Timings {
  double load_ms = 0, preprocess_ms = 0, vision_ms = 0, prefill_ms = 0, decode_ms = 0, ttft_ms = 0;
  double prefill_tokens_per_second = 0, decode_tokens_per_second = 0;
  int64_t drafted = 0, accepted = 0;  // guesses that were checked, and those that were right
};

struct ToolCall {
  std::string name;
  std::string arguments;  // JSON; the beginning of it where the answer was cut off
  bool complete = false;
};

struct ChatResult {
  std::string text;                      // the answer
  std::optional<std::string> reasoning;  // with thinking on
  std::vector<ToolCall> tool_calls;      // whose names are known
  std::vector<int32_t> tokens;           // generated ids
  std::vector<TokenLogprobs> logprobs;   // one per id when asked for
  FinishReason finish_reason = FinishReason::kStop;
  Usage usage;
  Timings timings;
};

/// A piece of the answer as it becomes known.
struct TextDelta {
  std::string text;
  bool reasoning = false;
  /// Of a call instead of the answer: its number, from 0. `name` is the tool's in the first piece, which may have no
  /// text.
  std::optional<int> call = {};
  std::string name = {};
  /// What was generated since the piece before, when log probabilities were asked for. At the end some ids may be left
  /// that gave no text.
  std::vector<int32_t> tokens = {};
  std::vector<TokenLogprobs> logprobs = {};
};

/// Called on the thread that calls chat().
using OnDelta = std::function<void(const TextDelta&)>;

/// What the memory plan of a model says, in bytes.
struct MemoryPlan {
  int64_t weights_bytes = 0;      // in the files
  bool weights_mapped = true;     // if not, they are read into memory, which the system cannot take back
  int64_t converted_bytes = 0;    // norms, biases and tables held in f32
  int64_t kv_bytes = 0;           // for context_tokens
  int64_t activations_bytes = 0;  // estimated peak, vision included
  int64_t draft_bytes = 0;        // all of the model that drafts
  int64_t speech_bytes = 0;       // weights of the speech decoder, which is loaded by who speaks; not in the total
  int64_t context_tokens = 0;
  int64_t total_bytes() const { return weights_bytes + converted_bytes + kv_bytes + activations_bytes + draft_bytes; }
};

/// A computed prompt in a file (docs/sessions.md).
struct SessionInfo {
  int64_t tokens = 0;
  int64_t bytes = 0;  // of the file
};

/// What an engine is doing, and did since it was loaded.
struct EngineStats {
  int64_t callers = 0, callers_begun = 0;           // now; begun: the prompt is computed
  int64_t free_blocks = 0, num_blocks = 0;          // of the KV cache, kBlockTokens tokens each
  int64_t kept_sequences = 0;                       // whose computed tokens wait for a prompt with the same beginning
  int64_t steps = 0, rows = 0;                      // rows: tokens computed
  int64_t reused_tokens = 0, preempted = 0;         // preempted: sequences that lost their blocks for a time
  int64_t drafted_tokens = 0, accepted_tokens = 0;  // guesses, and those that were right
  int64_t media_cache_bytes = 0, media_cache_hits = 0, media_cache_misses = 0;
};

class LoadedModel;  // models/loaded_model.h
class TokenStream;  // engine/token_stream.h

/// A model ready to answer, many callers at once: their tokens are computed in common steps.
class Engine {
 public:
  /// Loads weights and tokenizer. Throws Error not_found, bad_file, unsupported, io, out_of_memory.
  static std::unique_ptr<Engine> load(const ModelSpec& spec, const EngineOptions& options);
  virtual ~Engine() = default;

  /// Answers the last message. May be called by several threads at once; each answer is what it would be alone, up to
  /// the rounding of a batch, and beam search has the model to itself. Text is streamed through `on_delta` when given
  /// (not with beam search, which gives it at the end). Setting *cancel ends the answer at the next token. Throws Error
  /// invalid_request for an empty or contradictory request or one that does not fit the context.
  virtual ChatResult chat(const ChatRequest& request, const OnDelta& on_delta = {},
                          const std::atomic<bool>* cancel = nullptr) = 0;

  /// The language model's hidden state at the speaker token that begins the answer [hidden]: the voice for
  /// SpeechMaker::say. The answer itself is not made. Throws Error invalid_request for models that do not speak.
  virtual std::vector<float> speaker_state(const ChatRequest& request) = 0;

  /// The language model's hidden state behind the last of `tokens` [hidden], behind the last norm. May be called by
  /// several threads at once. Throws Error invalid_request for no tokens or more than context_tokens(), cancelled.
  virtual std::vector<float> hidden_state(const std::vector<int32_t>& tokens, const std::string& cache_scope,
                                          Priority priority, const std::atomic<bool>* cancel = nullptr) = 0;
  /// The longest sequence.
  virtual int64_t context_tokens() const = 0;

  /// A sequence that stays in the cache and grows piece by piece; its priority is kLive.
  virtual std::unique_ptr<TokenStream> open_stream() = 0;

  /// Writes a computed prompt, with the answer behind it if there is one, so that restore_session() in another run of
  /// the program spares computing it. Without `prompt` what this scope's last request left; nothing is written, and
  /// there are no tokens, where that is not there any more. With it the prompt is computed if need be. The file appears
  /// when it is complete. Throws Error io, not_found, cancelled, and as chat().
  virtual SessionInfo save_session(const std::filesystem::path& file, const std::string& cache_scope,
                                   const ChatRequest* prompt = nullptr, const std::atomic<bool>* cancel = nullptr) = 0;
  /// From now on prompts of this scope that begin as the session does are computed from where they differ. Throws Error
  /// not_found, io; bad_file for files that are damaged or no session; unsupported for a session of another model,
  /// adapter, cache type, precision or EngineOptions::media_key; out_of_memory where the cache has no room.
  virtual SessionInfo restore_session(const std::filesystem::path& file, const std::string& cache_scope) = 0;

  virtual EngineStats stats() const = 0;

  /// The version's published defaults. `sample` false gives its beam search (3 beams).
  virtual SamplingParams default_sampling(bool thinking, bool sample) const = 0;
  virtual const LoadedModel& model() const = 0;
  virtual std::string backend_description() const = 0;
  virtual double load_ms() const = 0;
  virtual size_t peak_activation_bytes() const = 0;

  /// For benchmarks: milliseconds to prefill `tokens` random ids on top of `depth`, and to decode `tokens` one by one.
  virtual double bench_prefill_ms(int64_t tokens, int64_t depth) = 0;
  virtual double bench_decode_ms(int64_t tokens, int64_t depth, int64_t sequences) = 0;
  /// Milliseconds to encode one picture of that size (tower and resampler), preprocessing excluded.
  virtual double bench_vision_ms(int width, int height) = 0;
};

/// EngineOptions::media_key for an engine that is to go on with that session. Throws Error not_found, io, bad_file.
SipKey session_media_key(const std::filesystem::path& file);

/// What loading would need, from headers alone: nothing is read but metadata.
MemoryPlan plan_memory(const ModelSpec& spec, const EngineOptions& options);

}  // namespace minicpm
