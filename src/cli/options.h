// The command line's one table: parsing, help, docs/cli.md and shell completion are all made from these rows.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace minicpm::cli {

/// A file that goes into a message.
struct MediaFile {
  enum class Kind { kImage, kVideo, kAudio, kPdf };
  Kind kind;
  std::string file;
};

/// Values of all options of all verbs; each verb reads its own.
struct Options {
  std::string model;
  std::string mmproj;
  std::string lora;
  std::string json_schema;  // run
  std::optional<double> lora_scale;

  std::optional<std::string> prompt;
  std::string prompt_file;
  std::optional<std::string> system;
  std::vector<MediaFile> media;  // --image, --video, --audio, --pdf in the order given
  std::optional<double> fps;
  std::optional<int64_t> max_frames, pack;
  std::string think;  // "on", "off" or empty
  std::optional<int64_t> max_slices;
  bool no_exif = false;

  std::optional<int64_t> max_tokens, min_tokens, seed, top_k, beams;
  std::optional<double> temperature, top_p, min_p, repeat_penalty;
  std::vector<std::string> stop;
  bool greedy = false;

  std::optional<int64_t> threads, context;
  std::string draft;
  bool lookup = false;
  std::optional<int64_t> draft_tokens;
  std::string kv_type;  // name of a format in lower case, or empty
  std::string mmap;     // "on", "off", "auto" or empty
  std::string isa;
  std::string media_type;
  bool exact = false;
  bool half = false;
  bool deterministic = false;

  bool json = false;
  bool verbose = false;
  bool no_stream = false;

  bool tensors = false;                           // inspect
  bool ids_only = false;                          // tokenize
  bool special = false;                           // tokenize
  std::vector<int64_t> ids;                       // detokenize
  std::vector<std::string> cases;                 // verify
  std::vector<std::string> files;                 // transcribe
  std::string format, language;                   // transcribe, speak
  std::string voice, speak, mode;                 // speak, run
  std::string numbers;                            // speak, run: "words", "digits" or empty
  std::string instruct;                           // speak
  bool check_speech = false, hold_first = false;  // speak, run, live
  std::optional<double> window;                   // transcribe
  // live
  std::string audio_in, video_in, audio_out, vad, barge_in, hear_silence, when_full, echo;
  bool realtime = false, hd = false;
  std::optional<double> vad_threshold, idle;

  std::string data;       // verify
  std::string out, type;  // merge
  std::vector<int64_t> bench_prompts, bench_tokens, bench_depths, bench_sequences;
  std::vector<std::string> bench_images;
  std::optional<int64_t> repetitions;
  bool limits = false;             // bench
  std::string shell;               // completion
  std::vector<std::string> topic;  // help: a verb, which may have two words
  std::string media_root;          // train
  bool skip_bad = false;           // train

  // train sft; what is not given keeps the configuration's value.
  std::string config, eval_data, device, save_type, schedule, optimizer, dtype;
  std::string tune_vision, tune_resampler, tune_audio, tune_llm;  // "on", "off" or empty
  bool resume = false, from_scratch = false, adapter = false, gradient_checkpointing = false;
  std::optional<double> epochs, learning_rate, warmup, weight_decay, clip, lora_alpha, lora_dropout;
  std::optional<int64_t> samples, batch, accumulation, lora_rank, log_every, eval_every, save_every, stop_after;
  std::optional<std::string> lora_targets;
  std::vector<std::string> lora_save;

  // serve
  std::vector<std::string> models, loras, api_keys, cors_origins, allowed_hosts;
  std::string host, api_key_file, tls_certificate, tls_key, log, sandbox, media_path, settings_file;
  std::vector<int64_t> url_ports;
  bool allow_url = false;
  std::optional<int64_t> port, parallel, cache_tokens, live_sessions;
  bool insecure = false, tls_self_signed = false;

  bool store = false;                 // serve
  std::optional<int64_t> keep_alive;  // serve
  bool allow_pull = false;            // serve
  std::string allow_lora;             // serve
  std::string session;                // run
  std::string session_dir;            // serve
  std::string state;                  // serve
  bool no_state = false;              // serve
  bool yes = false;                   // rm
  bool quiet = false;                 // pull

  bool markdown = false;
  bool help = false;

  std::vector<std::string> words = {};  // what all this was read from, so that settings can be read again
};

/// Where a row's value goes.
using Field =
    std::variant<std::vector<MediaFile> Options::*, bool Options::*, std::string Options::*,
                 std::optional<std::string> Options::*, std::vector<std::string> Options::*,
                 std::optional<int64_t> Options::*, std::vector<int64_t> Options::*, std::optional<double> Options::*>;

struct OptionRow {
  std::string_view verbs;  // names of the verbs that take it, separated by blanks; "*": all; "train-check": train check
  std::string_view flags;  // "-t,--threads"; a name without dashes is a positional argument
  std::string_view value;  // "N", "TEXT", "FILE", "MODEL", "on|off" (these words only); empty for a switch
  std::string_view group;  // heading in the help
  Field field;
  std::string_view help;
  bool required = false;
  int64_t least = std::numeric_limits<int64_t>::min();  // of whole numbers
  int64_t most = std::numeric_limits<int32_t>::max();

  bool takes(std::string_view verb) const;
  bool repeatable() const;
  /// Whether it may come from the environment and a file of settings, with verbs that have --config for one.
  bool from_settings() const;
  /// The name among the flags that has no dashes, or empty.
  std::string_view positional() const;
  /// The flags one by one, the positional name left out.
  std::vector<std::string_view> flag_names() const;
  /// The words the value is limited to ("on|off"), else none.
  std::vector<std::string_view> choices() const;
};

struct VerbRow {
  std::string_view name;         // one word, or two: "train check"
  std::string_view arguments;    // for the usage line: "MODEL [-p TEXT]"
  std::string_view summary;      // one line
  std::string_view description;  // paragraphs for the help
  std::string_view examples;     // lines, may be empty
  int (*run)(const Options&);    // returns the exit code; throws Error
};

std::span<const OptionRow> option_rows();
std::span<const VerbRow> verb_rows();
const VerbRow* find_verb(std::string_view name);

/// The verb that the words begin with, and how many of them name it. Throws Error invalid_request, with a guess where
/// one is near, for words that name none.
struct VerbMatch {
  const VerbRow* verb = nullptr;  // null: the first word alone, of which verbs have a second one
  size_t words = 0;
};
VerbMatch match_verb(std::span<const std::string> words);

/// The first words of all verbs, each once.
std::vector<std::string_view> first_words();
/// The second words of the verbs that begin with `word`; empty if it is a verb itself.
std::vector<std::string_view> second_words(std::string_view word);

/// The known name nearest to a mistyped one, or empty when none is near.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

/// Parses what follows the verb. Throws Error invalid_request with one sentence.
Options parse_options(const VerbRow& verb, std::span<const std::string> arguments);

}  // namespace minicpm::cli
