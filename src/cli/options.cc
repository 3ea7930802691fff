#include "cli/options.h"

#include <array>

#include "cli/verbs.h"

namespace minicpm::cli {
namespace {

constexpr std::string_view kModel = "Model";
constexpr std::string_view kPrompt = "Prompt and media";
constexpr std::string_view kAnswer = "Answer";
constexpr std::string_view kMachine = "Machine";
constexpr std::string_view kOutput = "Output";
constexpr std::string_view kTests = "What to measure";
constexpr std::string_view kInput = "Input";
constexpr std::string_view kTraining = "Training";
constexpr std::string_view kAdapter = "Adapter";
constexpr std::string_view kRun = "Run";
constexpr std::string_view kServer = "Server";
constexpr std::string_view kAccess = "Access";
constexpr std::string_view kStore = "Store";

constexpr bool kRequired = true;
constexpr bool kFree = false;

// The order of rows is the order in the help.
constexpr std::array kOptions = {
    OptionRow{"run live transcribe speak inspect plan tokenize detokenize bench merge train-check", "-m,--model,MODEL",
              "MODEL", kModel, &Options::model, "folder in the Hugging Face layout, or GGUF file", kRequired},
    OptionRow{"serve", "MODEL", "MODEL", kModel, &Options::models,
              "folder in the Hugging Face layout, GGUF file, or name; several are chosen by the name in a request"},
    OptionRow{"run serve live transcribe speak batch inspect plan bench train-check", "--mmproj", "FILE", kModel,
              &Options::mmproj, "projector file of a GGUF model; default: the mmproj*.gguf beside it"},
    OptionRow{"run live transcribe batch plan bench", "--lora", "DIR", kModel, &Options::lora,
              "fine-tuned adapter in the layout of PEFT, applied to the model as it is"},
    OptionRow{
        "serve", "--lora", "[NAME=]DIR", kModel, &Options::loras,
        "fine-tuned adapter in PEFT's layout: DIR for the model itself, NAME=DIR for a model MODEL:NAME; repeatable"},
    OptionRow{"merge", "--lora", "DIR", kModel, &Options::lora, "adapter in the layout of PEFT", kRequired},
    OptionRow{"run serve live transcribe batch bench merge", "--lora-scale", "X", kModel, &Options::lora_scale,
              "strength of the adapter; default: 1, as it was trained"},

    OptionRow{"run", "-p,--prompt", "TEXT", kPrompt, &Options::prompt,
              "question to answer once; `-` reads it from standard input; without it a chat starts"},
    OptionRow{"run", "-f,--file", "FILE", kPrompt, &Options::prompt_file, "read the question from a file"},
    OptionRow{"run", "--system", "TEXT", kPrompt, &Options::system, "system message"},
    OptionRow{"run", "--image", "FILE", kPrompt, &Options::media,
              "picture (JPEG, PNG, WebP, BMP, GIF); repeatable, in order; `-` reads it from standard input"},
    OptionRow{"run", "--video", "FILE", kPrompt, &Options::media,
              "video (MP4, MKV, WebM, AVI, GIF, ...); repeatable, in order; `-` reads it from standard input"},
    OptionRow{"run", "--audio", "FILE", kPrompt, &Options::media,
              "sound (WAV, MP3, FLAC, OGG, M4A, ...) for a model that hears; repeatable, in order; `-` reads it from "
              "standard input; with -p \"\" it is the question"},
    OptionRow{"run", "--pdf", "FILE", kPrompt, &Options::media, "PDF; not supported by this build yet"},
    OptionRow{"run", "--fps", "X", kPrompt, &Options::fps,
              "frames of a video to look at in a second; default: 3 with packs (MiniCPM-V 4.5), otherwise 1"},
    OptionRow{"run", "--max-frames", "N", kPrompt, &Options::max_frames,
              "most packs of frames, or frames without packs, of a video; default: 180, or 64", kFree, 1, 65536},
    OptionRow{"run", "--pack", "N", kPrompt, &Options::pack,
              "frames of a video that share the tokens of one; default: as few as fit, at most 3", kFree, 1, 6},
    OptionRow{"run", "--max-slices", "N", kPrompt, &Options::max_slices,
              "most slices that a large picture is cut into; default: the model's own, 9; frames of videos: 1", kFree,
              1, 1000},
    OptionRow{"run", "--no-exif", "", kPrompt, &Options::no_exif,
              "ignore the orientation tag of pictures, as the official code does"},
    OptionRow{"run", "--think", "on|off", kPrompt, &Options::think,
              "let a model that can do so reason before it answers; default: off"},

    OptionRow{"run", "-n,--max-tokens,--n-predict", "N", kAnswer, &Options::max_tokens,
              "most tokens to generate; default: the model's own", kFree, 1},
    OptionRow{"run live", "--min-tokens", "N", kAnswer, &Options::min_tokens, "fewest tokens before the answer may end",
              kFree, 0},
    OptionRow{"run", "--stop", "TEXT", kAnswer, &Options::stop, "end the answer before this text; repeatable"},
    OptionRow{"run", "--session,--prompt-cache", "FILE", kAnswer, &Options::session,
              "keep what is computed in FILE, and begin with it: a prompt is computed from where it differs"},
    OptionRow{"run", "--json-schema", "FILE", kAnswer, &Options::json_schema,
              "answer with JSON that satisfies the JSON schema in this file"},
    OptionRow{"run live", "-s,--seed", "N", kAnswer, &Options::seed,
              "seed of the draws; the same seed gives the same answer; default: another one each time", kFree, 0,
              std::numeric_limits<int64_t>::max()},
    OptionRow{"run live", "--temp,--temperature", "X", kAnswer, &Options::temperature,
              "flatter (above 1) or sharper (below 1) choice; 0 is greedy"},
    OptionRow{"run live", "--top-k", "N", kAnswer, &Options::top_k, "draw from the N best tokens; 0: off", kFree, 0},
    OptionRow{"run live", "--top-p", "X", kAnswer, &Options::top_p,
              "draw from the best tokens that together reach this probability; 1: off"},
    OptionRow{"run live", "--min-p", "X", kAnswer, &Options::min_p,
              "drop tokens less probable than X times the best one; 0: off"},
    OptionRow{"run live", "--repeat-penalty", "X", kAnswer, &Options::repeat_penalty,
              "make tokens of the answer so far less likely; 1: off"},
    OptionRow{"run live", "--greedy,--no-sample", "", kAnswer, &Options::greedy, "always take the most probable token"},
    OptionRow{"run", "--beams", "N", kAnswer, &Options::beams, "beam search with N beams instead of drawing", kFree, 1,
              64},

    OptionRow{"transcribe", "FILE", "FILE", kInput, &Options::files,
              "sound (WAV, MP3, FLAC, OGG, M4A, a video, ...); repeatable", kRequired},
    OptionRow{"transcribe", "--language", "en|zh", kInput, &Options::language,
              "language of the transcript; speech in the other one is translated; default: en"},
    OptionRow{"transcribe", "-p,--prompt", "TEXT", kInput, &Options::prompt,
              "another instruction than the published ones for transcripts"},
    OptionRow{"transcribe", "--window", "SECONDS", kInput, &Options::window,
              "longest part that is heard at once, 1 to 30; default: 30, and 10 for subtitles"},
    OptionRow{"transcribe", "-n,--max-tokens,--n-predict", "N", kInput, &Options::max_tokens,
              "most tokens for a part; default: 512", kFree, 1},
    OptionRow{"transcribe", "--format", "text|json|srt|vtt", kOutput, &Options::format, "default: text"},
    OptionRow{"transcribe", "-o,--out", "DIR", kOutput, &Options::out,
              "write NAME.txt, .json, .srt or .vtt there for each file; those that exist are left alone and unfinished "
              "ones go on where they were"},

    OptionRow{"speak", "-p,--prompt", "TEXT", kInput, &Options::prompt,
              "text to speak; `-` or nothing reads standard input"},
    OptionRow{"speak", "-f,--file", "FILE", kInput, &Options::prompt_file, "read the text from a file"},
    OptionRow{"run", "--mode",
              "audio-assistant|role-play|voice-clone|instruct|mimick|asr|translate|speaker|caption|scene", kPrompt,
              &Options::mode, "a published prompt of MiniCPM-o 2.6 around question and sound (docs/sound.md)"},
    OptionRow{"run", "--language", "en|zh", kPrompt, &Options::language,
              "language of the prompts that --mode and --voice bring along; default: en"},
    OptionRow{"run", "--speak", "FILE", kOutput, &Options::speak,
              "speak the answer while it is written, into this sound file (MiniCPM-o 2.6)"},
    OptionRow{"run", "--voice", "FILE", kOutput, &Options::voice,
              "sound file with some seconds of the voice to speak in, or female or male for the clips of the model's "
              "folder; default: the model's own"},
    OptionRow{
        "speak", "--voice", "FILE", kInput, &Options::voice,
        "sound file with some seconds of the voice to use, or female or male for the clips of the model's folder; "
        "default: the model's own"},
    OptionRow{"speak", "--instruct", "TEXT", kInput, &Options::instruct,
              "describe the voice in words instead of --voice"},
    OptionRow{"speak", "--language", "en|zh", kInput, &Options::language,
              "language of the prompts around the text; default: en"},
    OptionRow{"speak", "-s,--seed", "N", kInput, &Options::seed,
              "seed of the draws; the same seed gives the same speech; default: another one each time", kFree, 0,
              std::numeric_limits<int64_t>::max()},
    OptionRow{"run live speak", "--numbers", "words|digits", kOutput, &Options::numbers,
              "speak 25 as twenty five, or digit by digit as the official code does; default: words"},
    OptionRow{"run live speak", "--check-speech", "", kOutput, &Options::check_speech,
              "make speech anew where it is silence or one sound for too long"},
    OptionRow{
        "run live speak", "--hold-first", "", kOutput, &Options::hold_first,
        "give the first piece of streamed speech with the second, as the first official code did; default: at once"},
    OptionRow{"speak", "-o,--out", "FILE", kOutput, &Options::out,
              "sound file to write (.wav, .mp3, .flac, .ogg, .opus, .m4a; 24 kHz, mono), or `-` for raw samples of 16 "
              "bits as they are made",
              kRequired},

    OptionRow{"serve", "--config", "FILE", kServer, &Options::settings_file,
              "take options that are not given here from this file (port = 9000); MINICPM_CONFIG names one, too"},
    OptionRow{"serve", "--host", "ADDRESS", kServer, &Options::host,
              "address to listen on; default: 127.0.0.1, which only this machine reaches; 0.0.0.0 or :: is every one"},
    OptionRow{"serve", "--port", "N", kServer, &Options::port, "default: 8080; 0: any that is free", kFree, 0, 65535},
    OptionRow{"serve", "--parallel", "N", kServer, &Options::parallel,
              "requests that are answered at once; 256 more wait; default: 64", kFree, 1, 4096},
    OptionRow{"serve", "--cache-tokens", "N", kServer, &Options::cache_tokens,
              "room in the KV cache for all answers and for prompts that are kept, in tokens; at least one context; "
              "default: four contexts, but half of the free memory at most",
              kFree, 1, std::numeric_limits<int32_t>::max()},
    OptionRow{
        "serve", "--keep-alive", "SECONDS", kServer, &Options::keep_alive,
        "load models when they are asked for, and unload those that nobody asked for so long (-1: not before their "
        "room is needed); without it MODELs are loaded at the start and stay",
        kFree, -1},
    OptionRow{"serve", "--store", "", kServer, &Options::store,
              "offer all models of the store as well; they are loaded when they are asked for and unloaded after five "
              "minutes, or as --keep-alive says"},
    OptionRow{"serve", "--allow-pull", "", kServer, &Options::allow_pull,
              "let clients fetch models from the hub into the store, and delete those that are loaded when asked for"},
    OptionRow{"serve", "--allow-lora", "DIR", kServer, &Options::allow_lora,
              "let clients load adapters of this folder (/v1/load_lora_adapter), and unload them; with one MODEL"},
    OptionRow{"serve", "--session-dir", "DIR", kServer, &Options::session_dir,
              "let clients keep computed prompts in this folder and take them up again (/v1/sessions)"},
    OptionRow{"serve", "--state", "DIR", kServer, &Options::state,
              "folder for what the server keeps; default: minicpm/server in $XDG_STATE_HOME or ~/.local/state"},
    OptionRow{"serve", "--no-state", "", kServer, &Options::no_state, "keep nothing: no responses to go on from"},
    OptionRow{"serve", "--log,--log-format", "text|json|off", kServer, &Options::log,
              "one line for each request on standard error, without prompts and keys; default: text"},
    OptionRow{"serve", "--sandbox", "on|off|auto", kServer, &Options::sandbox,
              "decode the media of requests in processes that can do nothing else; auto: where this machine allows it, "
              "else the log says why not; default: auto"},
    OptionRow{"serve", "--allow-url", "", kAccess, &Options::allow_url,
              "fetch pictures and videos that requests name by http(s) URL, from the public internet only: private and "
              "local addresses are never asked"},
    OptionRow{"serve", "--url-port", "N", kAccess, &Options::url_ports,
              "port that such URLs may name, besides 80 and 443; repeatable", kFree, 1, 65535},
    OptionRow{"serve", "--media-path", "DIR", kAccess, &Options::media_path,
              "let requests name files of this folder (file://NAME); symbolic links are not followed"},
    OptionRow{"serve", "--api-key", "KEY", kAccess, &Options::api_keys,
              "requests must bring this key (Authorization: Bearer KEY, or x-api-key: KEY); repeatable; other users of "
              "the machine can see it in the list of processes"},
    OptionRow{"serve", "--api-key-file", "FILE", kAccess, &Options::api_key_file,
              "keys, one a line; the file must not be readable by other users"},
    OptionRow{"serve", "--insecure", "", kAccess, &Options::insecure, "let other machines ask without a key"},
    OptionRow{"serve", "--cors", "ORIGIN", kAccess, &Options::cors_origins,
              "let pages of this site use the server (https://example.org, or * for all); repeatable; default: none"},
    OptionRow{"serve", "--allow-host", "NAME", kAccess, &Options::allowed_hosts,
              "name that requests may give in the header Host, for a proxy on this machine; repeatable"},
    OptionRow{"serve", "--tls-cert", "FILE", kAccess, &Options::tls_certificate,
              "speak HTTPS with this certificate (PEM, with its chain)"},
    OptionRow{"serve", "--tls-key", "FILE", kAccess, &Options::tls_key, "the key of the certificate (PEM)"},
    OptionRow{"serve", "--tls-self-signed", "", kAccess, &Options::tls_self_signed,
              "speak HTTPS with a certificate of its own, which is made once and kept in the user's data folder"},
    OptionRow{"serve", "--live-sessions", "N", kServer, &Options::live_sessions,
              "live sessions (/v1/realtime) at once; default: 4", kFree, 1, 1024},

    OptionRow{"live", "--audio-in", "FILE", kInput, &Options::audio_in,
              "sound to hear: a file, `microphone`, or a device such as alsa:hw:1 or pulse:default; default: the sound "
              "of --video-in, else the microphone"},
    OptionRow{"live", "--video-in", "FILE", kInput, &Options::video_in,
              "what to see, a picture a second: a video, `camera`, or a device such as v4l2:/dev/video1"},
    OptionRow{"live", "--realtime", "", kInput, &Options::realtime,
              "play files as time passes; default: as fast as they are understood, waiting for each answer"},
    OptionRow{"live", "--mode", "omni|assistant|roleplay", kInput, &Options::mode,
              "what the model is told to be; default: omni with --video-in, else assistant"},
    OptionRow{"live", "--language", "en|zh", kInput, &Options::language, "language of that; default: en"},
    OptionRow{"live", "--system", "TEXT", kInput, &Options::system,
              "say this instead of the published sentence about its task"},
    OptionRow{"live", "--voice", "FILE", kInput, &Options::voice,
              "sound file with 5 to 15 seconds of the voice to speak in; default: the model's own"},
    OptionRow{"live", "--hd", "", kInput, &Options::hd,
              "look at the last picture of a turn in up to six slices as well"},
    OptionRow{"live serve", "--vad", "auto|webrtc|energy|off", kInput, &Options::vad,
              "what finds speech; off: the input is one turn; default: auto, WebRTC's where it is there"},
    OptionRow{"live", "--vad-threshold", "X", kInput, &Options::vad_threshold,
              "certainty from which sound is speech, 0 to 1; default: 0.7"},
    OptionRow{"live", "--hear-silence", "on|off", kInput, &Options::hear_silence,
              "keep seconds without speech in the conversation; default: on in the mode omni"},
    OptionRow{"live", "--barge-in", "on|off", kInput, &Options::barge_in,
              "half a second of speech interrupts an answer; default: on, unless the echo of a loudspeaker cannot be "
              "cancelled"},
    OptionRow{"live", "--echo", "on|off", kInput, &Options::echo,
              "cancel the loudspeaker's echo in the microphone; default: on where both are open"},
    OptionRow{"live", "--when-full", "slide|reset", kInput, &Options::when_full,
              "what a full context forgets: the oldest seconds, or all but the first message; default: slide"},
    OptionRow{"live", "--idle", "SECONDS", kInput, &Options::idle,
              "end when nothing has come for so long; default: 900"},
    OptionRow{"live", "-n,--max-tokens,--n-predict", "N", kAnswer, &Options::max_tokens,
              "most tokens of an answer; default: 512", kFree, 1},
    OptionRow{"live", "--audio-out", "FILE", kOutput, &Options::audio_out,
              "where speech goes: a sound file (as of speak), `speaker`, an ALSA device (alsa:NAME), or `none`; "
              "default: speaker with a "
              "microphone, else none"},

    OptionRow{"inspect", "--tensors", "", kOutput, &Options::tensors, "list every tensor"},

    OptionRow{"tokenize", "-p,--prompt", "TEXT", kInput, &Options::prompt,
              "the text; `-` or nothing reads standard input"},
    OptionRow{"tokenize", "-f,--file", "FILE", kInput, &Options::prompt_file, "read the text from a file"},
    OptionRow{"tokenize", "--special", "", kInput, &Options::special,
              "recognise special tokens such as <|im_end|> in the text"},
    OptionRow{"tokenize", "--ids", "", kOutput, &Options::ids_only, "print the ids only, in one line"},
    OptionRow{"detokenize", "IDS", "IDS", kInput, &Options::ids,
              "token ids; without any they are read from standard input", kFree, 0},

    OptionRow{"batch", "FILE", "FILE", kInput, &Options::data, "requests as lines of JSON in OpenAI's batch format",
              kRequired},
    OptionRow{"batch", "-m,--model", "MODEL", kModel, &Options::model,
              "what answers all requests, whatever model they name: a folder, a GGUF file or a name", kRequired},
    OptionRow{"batch", "-o,--out", "FILE", kOutput, &Options::out,
              "where answers are added; requests whose custom_id is there already are left out", kRequired},
    OptionRow{"batch", "--parallel", "N", kMachine, &Options::parallel,
              "requests that are answered at once; default: 8", kFree, 1, 1024},
    OptionRow{"batch", "--sandbox", "on|off|auto", kMachine, &Options::sandbox,
              "decode media in processes that can do nothing else; auto: where this machine allows it; default: auto"},

    OptionRow{"pull", "MODEL", "MODEL", kStore, &Options::model,
              "ORG/NAME of the hub, with @REVISION (default: main) and :FORMAT of a GGUF file (default: Q4_K_M, else "
              "Q8_0, else the only one)",
              kRequired},
    OptionRow{"show", "MODEL", "MODEL", kStore, &Options::model, "name in the store, folder or GGUF file", kRequired},
    OptionRow{"rm", "MODEL", "MODEL", kStore, &Options::model, "name as `minicpm list` shows it", kRequired},
    OptionRow{"rm", "-y,--yes", "", kStore, &Options::yes, "remove without asking"},
    OptionRow{"pull batch", "--quiet", "", kOutput, &Options::quiet, "do not show how far it has come"},

    OptionRow{"verify", "CASE", "CASE", kInput, &Options::cases, "case folder, or a folder of such folders", kRequired},
    OptionRow{"verify", "--data", "DIR", kInput, &Options::data,
              "folder with the published tokenizer files, for the tokenizer and chat-template cases"},

    OptionRow{"merge", "-o,--out", "DIR", kOutput, &Options::out, "folder to write; must not exist, or be empty",
              kRequired},
    OptionRow{"merge", "--type", "same|f32|f16|bf16", kOutput, &Options::type,
              "number format of the weights; default: same, as in MODEL"},

    OptionRow{"bench", "-p,--prompt-tokens", "N", kTests, &Options::bench_prompts,
              "prompt lengths to prefill; repeatable; default: 512", kFree, 0},
    OptionRow{"bench", "-n,--gen-tokens", "N", kTests, &Options::bench_tokens,
              "numbers of tokens to generate; repeatable; default: 64", kFree, 0},
    OptionRow{"bench", "-d,--depth", "N", kTests, &Options::bench_depths,
              "tokens already in the context; repeatable; default: 0", kFree, 0},
    OptionRow{"bench", "-b,--sequences", "N", kTests, &Options::bench_sequences,
              "sequences that generate in parallel; repeatable; default: 1", kFree, 1, 1024},
    OptionRow{"bench", "--image", "WxH", kTests, &Options::bench_images,
              "picture sizes to encode; repeatable; default: 448x448 and 1344x896"},
    OptionRow{"bench", "-r,--repetitions", "N", kTests, &Options::repetitions,
              "runs of each test, of which the median counts; default: 3", kFree, 1, 1000},
    OptionRow{"bench", "--limits", "", kTests, &Options::limits,
              "first measure what this machine can do at most (memory read; int8, bf16 and f32 products), then give "
              "each speed as a share of it too"},

    OptionRow{"train-check", "DATA", "DATA", kInput, &Options::data,
              "training data: a JSON array or JSON lines of conversations (docs/training-data.md)", kRequired},
    OptionRow{"train-check", "--media-root", "DIR", kInput, &Options::media_root,
              "folder of relative paths in DATA; default: the folder of DATA"},
    OptionRow{"train-check", "--skip-bad", "", kInput, &Options::skip_bad, "leave bad samples out instead of failing"},
    OptionRow{"train-check", "--max-tokens", "N", kInput, &Options::max_tokens,
              "most tokens of a sample; longer ones are bad; default: 2048", kFree, 1},
    OptionRow{"train-check", "--max-slices", "N", kInput, &Options::max_slices,
              "most slices that a large picture is cut into; default: the model's own, 9", kFree, 1, 1000},

    OptionRow{"train-sft", "-m,--model,MODEL", "MODEL", kInput, &Options::model,
              "folder in the Hugging Face layout to start from"},
    OptionRow{"train-sft", "DATA", "DATA", kInput, &Options::data,
              "training data: a JSON array or JSON lines of conversations (docs/training-data.md)"},
    OptionRow{"train-sft", "--config", "FILE", kInput, &Options::config,
              "settings as JSON, with stages and data plug-ins (docs/training.md); options given beside it go first"},
    OptionRow{"train-sft", "--media-root", "DIR", kInput, &Options::media_root,
              "folder of relative paths in DATA; default: the folder of DATA"},
    OptionRow{"train-sft", "--eval-data", "FILE", kInput, &Options::eval_data,
              "held-out data: how many of its answers would be exact is logged"},
    OptionRow{"train-sft", "--skip-bad", "", kInput, &Options::skip_bad, "leave bad samples out instead of failing"},
    OptionRow{"train-sft", "--max-tokens", "N", kInput, &Options::max_tokens,
              "most tokens of a sample; longer ones are bad; default: 2048", kFree, 8},
    OptionRow{"train-sft", "--max-slices", "N", kInput, &Options::max_slices,
              "most slices that a large picture is cut into; default: the model's own, 9", kFree, 1, 1000},

    OptionRow{"train-sft", "--from-scratch", "", kTraining, &Options::from_scratch,
              "begin with random weights; MODEL needs a configuration and a tokenizer only"},
    OptionRow{"train-sft", "--epochs", "X", kTraining, &Options::epochs, "passes over the data; default: 1"},
    OptionRow{"train-sft", "--samples", "N", kTraining, &Options::samples, "samples to see, in place of --epochs",
              kFree, 1, std::numeric_limits<int64_t>::max()},
    OptionRow{"train-sft", "--batch", "N", kTraining, &Options::batch,
              "samples that are computed at once by each process; default: 1", kFree, 1, 65536},
    OptionRow{"train-sft", "--accumulation", "N", kTraining, &Options::accumulation,
              "batches of one update; default: 1", kFree, 1, 65536},
    OptionRow{"train-sft", "--lr,--learning-rate", "X", kTraining, &Options::learning_rate,
              "peak learning rate; default: 1e-6, with --adapter 1e-4"},
    OptionRow{"train-sft", "--schedule", "cosine|linear|wsd|constant", kTraining, &Options::schedule,
              "how the rate falls after the warm-up; default: cosine"},
    OptionRow{"train-sft", "--warmup", "X", kTraining, &Options::warmup,
              "updates of the warm-up, or below 1 their share; default: 0.01"},
    OptionRow{"train-sft", "--optimizer", "adamw|muon", kTraining, &Options::optimizer,
              "muon: orthogonal updates for matrices, AdamW for the rest; default: adamw"},
    OptionRow{"train-sft", "--weight-decay", "X", kTraining, &Options::weight_decay, "of matrices; default: 0.1"},
    OptionRow{"train-sft", "--clip", "X", kTraining, &Options::clip,
              "largest norm of the gradient, 0 for none; default: 1"},
    OptionRow{"train-sft", "--tune-vision", "on|off", kTraining, &Options::tune_vision,
              "train the vision tower; default: on, with --adapter off"},
    OptionRow{"train-sft", "--tune-resampler", "on|off", kTraining, &Options::tune_resampler,
              "train the resampler; default: on"},
    OptionRow{"train-sft", "--tune-audio", "on|off", kTraining, &Options::tune_audio,
              "train the sound encoder and its projection; default: on, with --adapter off"},
    OptionRow{"train-sft", "--tune-llm", "on|off", kTraining, &Options::tune_llm,
              "train the language model; default: on, with --adapter through the adapter only"},

    OptionRow{"train-sft", "--adapter", "", kAdapter, &Options::adapter,
              "train a low-rank adapter (LoRA) instead of the weights; the result is a folder in the layout of PEFT"},
    OptionRow{"train-sft", "--lora-rank", "N", kAdapter, &Options::lora_rank, "rank; default: 64", kFree, 1, 4096},
    OptionRow{"train-sft", "--lora-alpha", "X", kAdapter, &Options::lora_alpha,
              "the adapter counts alpha / rank times; default: 64"},
    OptionRow{"train-sft", "--lora-dropout", "X", kAdapter, &Options::lora_dropout, "default: 0.05"},
    OptionRow{"train-sft", "--lora-targets", "REGEX", kAdapter, &Options::lora_targets,
              "names of adapted layers; default: the q, k, v and o projections of the language model"},
    OptionRow{"train-sft", "--lora-save", "MODULE", kAdapter, &Options::lora_save,
              "module to train and save whole beside the adapter; repeatable; default: embed_tokens and resampler, vpm "
              "with --tune-vision on, apm and audio_projection_layer with --tune-audio on"},

    OptionRow{"train-sft", "-o,--out", "DIR", kRun, &Options::out, "folder of the result, with its log and checkpoints",
              kRequired},
    OptionRow{"train-sft", "--resume", "", kRun, &Options::resume,
              "go on after the newest checkpoint in --out; without one begin"},
    OptionRow{"train-sft", "--stop-after", "N", kRun, &Options::stop_after,
              "write a checkpoint and end after so many updates", kFree, 1},
    OptionRow{"train-sft", "--log-every", "N", kRun, &Options::log_every,
              "updates between two lines of the log; default: 10", kFree, 1},
    OptionRow{"train-sft", "--eval-every", "N", kRun, &Options::eval_every,
              "updates between two evaluations; default: at the end", kFree, 1},
    OptionRow{"train-sft", "--save-every", "N", kRun, &Options::save_every,
              "updates between two checkpoints; default: one every 10 minutes", kFree, 1},
    OptionRow{"train-sft", "--seed", "N", kRun, &Options::seed, "of order, dropout and new weights; default: 1", kFree,
              0, std::numeric_limits<int64_t>::max()},
    OptionRow{"train-sft", "--dtype", "f32|bf16", kRun, &Options::dtype,
              "of products and branches; weights and sums stay in f32; default: f32"},
    OptionRow{"train-sft", "--gradient-checkpointing", "", kRun, &Options::gradient_checkpointing,
              "compute layers twice instead of keeping what they need for the way back: less memory, a third slower"},
    OptionRow{"train-sft", "--device", "cpu|cuda", kRun, &Options::device, "default: cpu"},
    OptionRow{"train-sft", "--type", "f32|f16|bf16", kRun, &Options::save_type,
              "number format of the result's weights; default: bf16; adapters: f32"},

    OptionRow{"completion", "SHELL", "bash|zsh|fish", kInput, &Options::shell, "which shell", kRequired},
    OptionRow{"help", "VERB", "VERB", kInput, &Options::topic, "verb to explain; without it an overview"},
    OptionRow{"help", "--markdown", "", kOutput, &Options::markdown, "print the whole reference as Markdown"},

    OptionRow{"run serve live transcribe speak batch bench verify merge train-check train-sft", "-t,--threads", "N",
              kMachine, &Options::threads, "compute threads; default: one per processor", kFree, 1, 4096},
    OptionRow{"run serve live transcribe speak batch plan bench", "-c,--context", "N", kMachine, &Options::context,
              "tokens of context to make room for; default: the model's limit, at most 8192", kFree, 1,
              std::numeric_limits<int32_t>::max()},
    OptionRow{"run serve live transcribe speak batch plan bench", "--cache-type,--kv-type", "f16|bf16|q8_0|f32",
              kMachine, &Options::kv_type,
              "number format of the KV cache; q8_0 takes about half the room of f16; default: f16"},
    OptionRow{
        "run serve batch", "--lookup", "", kMachine, &Options::lookup,
        "guess tokens from what followed where the last ones stood before, and check several in one step; answers "
        "stay the same"},
    OptionRow{"run serve batch plan", "--draft", "MODEL", kMachine, &Options::draft,
              "guess tokens with this smaller model, which must have the same vocabulary"},
    OptionRow{"run serve batch", "--draft-tokens", "N", kMachine, &Options::draft_tokens,
              "guesses of a step at most, for --lookup and --draft; default: 8", kFree, 1, 64},
    OptionRow{"run serve live transcribe speak batch plan bench", "--mmap", "on|off|auto", kMachine, &Options::mmap,
              "weights in the mapped files (on), or read into memory of the program (off); default: auto, which maps "
              "files on local disks and reads those on network drives if they fit"},
    OptionRow{
        "run serve transcribe batch bench", "--media-type", "bf16|int8|f32", kMachine, &Options::media_type,
        "numbers in which pictures and sound are encoded; int8 is faster and about 2 % off; default: bf16, as the "
        "models' authors do"},
    OptionRow{"run serve live transcribe speak batch bench", "--exact", "", kMachine, &Options::exact,
              "compute in f32 throughout: slower, closest to the reference"},
    OptionRow{
        "run serve transcribe batch bench", "--deterministic", "", kMachine, &Options::deterministic,
        "the same answer to the last bit whether it is computed alone, among others or in pieces; slower where few "
        "rows are computed at a time"},
    OptionRow{"run serve live transcribe speak batch bench", "--half", "", kMachine, &Options::half,
              "multiply f16 and f32 weights in bf16: prompts are read twice as fast, as coarsely as by bf16 models"},
    OptionRow{"run serve live transcribe speak batch bench verify doctor", "--isa", "NAME", kMachine, &Options::isa,
              "kernels to use, as `minicpm doctor` lists them; default: the best"},

    OptionRow{"run", "--no-stream", "", kOutput, &Options::no_stream, "print the answer when it is complete"},
    OptionRow{"run live", "--verbose", "", kOutput, &Options::verbose, "print where the time went"},
    OptionRow{"run transcribe speak batch pull list show inspect plan tokenize detokenize verify doctor bench merge "
              "train-check train-sft version",
              "--json", "", kOutput, &Options::json, "print one JSON document"},
    OptionRow{"live", "--json", "", kOutput, &Options::json, "print each event as a line of JSON"},
    OptionRow{"*", "-h,--help", "", kOutput, &Options::help, "print this help"},
};

constexpr std::array kVerbs = {
    VerbRow{"run", "MODEL [-p TEXT] [--image FILE]...", "ask a model, or chat with it",
            "With -p (or -f) the model answers once and the program ends. Without, a chat starts: type a line and\n"
            "press Enter; a line that ends in a backslash goes on. Lines from a pipe are read the same way.\n"
            "\n"
            "In a chat: /image FILE, /video FILE and /audio FILE add something to the next message, /system TEXT sets\n"
            "the system message, /think on|off turns reasoning on and off, /reset starts anew, /save FILE writes\n"
            "the conversation (.md or .json), /help lists the commands, /quit or Ctrl-D ends. Ctrl-C once ends\n"
            "the answer, twice the program.\n"
            "\n"
            "Sampling starts from what the model's publishers recommend; every option overrides one value.\n"
            "The answer goes to standard output; reasoning, notes and timings go to standard error.",
            "minicpm run model/ -p 'What is in this picture?' --image photo.jpg\n"
            "minicpm run model.gguf --image a.png --image b.png -p 'What has changed?' --json\n"
            "minicpm run model/ --video clip.mp4 -p 'What happens?' --fps 5\n"
            "minicpm run model/ --mode role-play --voice actor.wav -p 'Who are you?' --speak answer.mp3\n"
            "cat page.png | minicpm run model/ --image - -p 'Read the text.'",
            run_run},
    VerbRow{
        "serve", "[MODEL...]", "answer requests over HTTP",
        "Speaks the APIs of OpenAI (/v1/chat/completions, /v1/models), Ollama (/api/...) and Anthropic\n"
        "(/v1/messages), and llama.cpp's /tokenize, /detokenize, /apply-template, /health and /metrics.\n"
        "MiniCPM-o 2.6 also holds live sessions over WebSockets (/v1/realtime, OpenAI's Realtime API).\n"
        "Several models are told apart by the name in a request: the folder's or file's name.\n"
        "\n"
        "Only this machine can ask, unless --host says otherwise, which needs an --api-key. Nothing is\n"
        "fetched from the network without --allow-url, and no request can name a file without --media-path.\n"
        "Ctrl-C (or SIGTERM) takes no more requests and lets running answers end for five seconds.\n"
        "SIGHUP reads the adapters of --lora, or those that the file of --config names by then, again.\n"
        "\n"
        "Options that are not given come from the environment (MINICPM_PORT for --port), then from the file of\n"
        "--config (port = 9000), which is TOML without tables.",
        "minicpm serve pico\n"
        "minicpm serve model/ other.gguf --port 9000\n"
        "minicpm serve model/ --host 0.0.0.0 --api-key-file keys --tls-cert cert.pem --tls-key key.pem\n"
        "curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}'",
        run_serve},
    VerbRow{"live", "MODEL [--audio-in FILE] [--video-in FILE]", "talk with a model that hears, sees and speaks",
            "Listens and looks, finds out by itself when you have finished, and answers in text and aloud\n"
            "(MiniCPM-o 2.6). Speak for half a second to interrupt it. Files can take the place of microphone\n"
            "and camera, and a sound file that of the loudspeaker. Ctrl-C interrupts an answer; while nothing is\n"
            "answered it ends the session.",
            "minicpm live model/\n"
            "minicpm live model/ --video-in camera --voice me.wav --language en\n"
            "minicpm live model/ --audio-in question.wav --audio-out answer.wav\n"
            "minicpm live model/ --video-in walk.mp4 --realtime --json --verbose",
            run_live},
    VerbRow{"transcribe", "MODEL FILE...", "write down what is said",
            "Cuts the sound at quiet places into parts of at most 30 seconds and asks a model that hears\n"
            "(MiniCPM-o 2.6) to write each one down, greedily. Times are those of the parts. Silent parts are\n"
            "passed over.",
            "minicpm transcribe model/ talk.mp3\n"
            "minicpm transcribe model/ lecture.mp4 --format srt -o subtitles/\n"
            "minicpm transcribe model/ *.wav --language zh --json",
            run_transcribe},
    VerbRow{"speak", "MODEL -o FILE [-p TEXT]", "read a text aloud",
            "Speaks the text with the speech decoder of MiniCPM-o 2.6, in the model's own voice or in that of a\n"
            "clip. MODEL is its Hugging Face folder, with assets/chattts_tokenizer and the vocoder's weights in\n"
            "assets/Vocos.pt or assets/vocos.safetensors, or a GGUF pair that was made from it. Long texts are\n"
            "spoken in parts that end where sentences do, each going on from the one before it.",
            "minicpm speak model/ -p 'Good morning.' -o morning.wav\n"
            "minicpm speak model/ -f letter.txt --voice me.wav -o letter.wav --seed 7\n"
            "minicpm speak model/ -p 'Hello.' --instruct 'Speak like an old sailor.' -o hello.opus\n"
            "minicpm speak model/ -p 'Hello.' -o - | aplay -f S16_LE -r 24000",
            run_speak},
    VerbRow{
        "batch", "FILE -m MODEL -o FILE", "answer a file of requests",
        "Each line is {\"custom_id\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\", \"body\"}; each answer\n"
        "is a line with the same custom_id and the response that `serve` would give, errors included, in the\n"
        "order in which they are ready. Several requests are computed together. Ctrl-C stops; the same command\n"
        "goes on with what is missing.",
        "minicpm batch requests.jsonl -m openbmb/MiniCPM-V-4_5-gguf -o answers.jsonl\n"
        "minicpm batch requests.jsonl -m model/ -o answers.jsonl --parallel 32 --json",
        run_batch},
    VerbRow{"pull", "MODEL", "fetch a model from the hub",
            "Fetches what is needed of ORG/NAME into the Hugging Face cache, where this and other programs find it:\n"
            "configuration, tokenizer and weights, or with :FORMAT (or for a repository of GGUF files) one GGUF model\n"
            "and its projector. Code is never fetched. What is there already is not fetched again, an interrupted\n"
            "pull goes on where it was, and every file is checked against the hub's hash.\n"
            "\n"
            "HF_ENDPOINT names a mirror, HF_TOKEN (or the file of `hf auth login`) opens gated models, HF_HOME or\n"
            "HF_HUB_CACHE move the cache, https_proxy is honoured.",
            "minicpm pull openbmb/MiniCPM-V-4_5\n"
            "minicpm pull openbmb/MiniCPM-V-4_5-gguf:Q4_K_M\n"
            "minicpm run openbmb/MiniCPM-V-4_5-gguf:Q4_K_M --image photo.jpg -p 'What is this?'",
            run_pull},
    VerbRow{"list", "", "list the models of the store",
            "Name, format, size, age and commit of each model that can be run.", "minicpm list\nminicpm list --json",
            run_list},
    VerbRow{"rm", "NAME", "remove a model from the store",
            "Removes a model's files from the Hugging Face cache, of which other programs may be users as well.\n"
            "Contents that another revision or format needs stay.",
            "minicpm rm openbmb/MiniCPM-V-4_5-gguf:Q4_K_M\nminicpm rm openbmb/MiniCPM-V-4_5 --yes", run_rm},
    VerbRow{"show", "MODEL", "show the facts of a model",
            "Version, number formats, context, memory and files, without reading weights. `inspect` says more.",
            "minicpm show openbmb/MiniCPM-V-4_5-gguf\nminicpm show pico --json", run_show},
    VerbRow{"inspect", "MODEL", "show what a model file holds",
            "Reads the headers of a Hugging Face folder, a GGUF file or a safetensors file: format, version,\n"
            "hyper-parameters, tokenizer and tensors with their formats and sizes. Weights are not read.",
            "minicpm inspect model.gguf\nminicpm inspect model/ --tensors", run_inspect},
    VerbRow{"plan", "MODEL", "say how much memory a model needs",
            "Adds up weights, KV cache and activations from the headers alone and compares with the memory that\n"
            "is available. Ends with exit code 6 if the model does not fit.",
            "minicpm plan model.gguf -c 32768", run_plan},
    VerbRow{"tokenize", "MODEL [-p TEXT]", "turn text into token ids",
            "Prints one token a line: its id and its text. No token is added in front or at the end.",
            "minicpm tokenize model/ -p 'Hello, world'\nminicpm tokenize model/ --ids < text.txt", run_tokenize},
    VerbRow{"detokenize", "MODEL [IDS]...", "turn token ids into text",
            "Prints the text of the ids, special tokens included.", "minicpm detokenize model/ 9707 11 1879",
            run_detokenize},
    VerbRow{"verify", "CASE...", "recompute reference results and compare",
            "Each case is a folder of reference data with a case.json (or cases.json for the GGUF set). Prints one\n"
            "line for each expected item (name, error, limit, ok or FAIL) and the totals. Exit code 0 only if all\n"
            "pass, else 9. Cases of unknown kind are an error.",
            "minicpm verify golden/sampling golden/v45-full\nminicpm verify golden --data tokenizers", run_verify},
    VerbRow{"bench", "MODEL", "measure speed",
            "Measures prefill (ppN: N prompt tokens), generation (tgN: N tokens one by one) and picture encoding\n"
            "(vision-WxH). Each figure is the median of several runs after one to warm up.",
            "minicpm bench model.gguf\nminicpm bench model.gguf -p 128 -p 2048 -n 32 -t 8 --json", run_bench},
    VerbRow{"merge", "MODEL --lora DIR --out DIR", "fold an adapter into the weights",
            "Adds a fine-tuned adapter to the weights of a Hugging Face folder and writes a folder that needs no\n"
            "adapter: sums in f32, each weight rounded once, tokenizer and configuration files copied. The folder\n"
            "appears when it is complete. `run --lora` uses an adapter without merging, also with GGUF files.",
            "minicpm merge model/ --lora adapter/ --out tuned/\n"
            "minicpm merge model/ --lora adapter/ --out tuned/ --type bf16 --json",
            run_merge},
    VerbRow{"train check", "MODEL DATA", "look at training data before training does",
            "Reads every sample as training would, pictures included, with the tokenizer and configuration of MODEL\n"
            "(its weights are not needed), and prints how many tokens, pictures and slices there are. Ends with exit\n"
            "code 4 at bad samples (a picture that cannot be read, bad JSON, no answer, too many tokens, ...), each\n"
            "named by file and line; with --skip-bad they are listed and counted only.",
            "minicpm train check model/ train.jsonl\n"
            "minicpm train check model/ train.json --max-slices 4 --skip-bad --json",
            run_train_check},
    VerbRow{
        "train sft", "[MODEL DATA] -o DIR", "fine-tune a model, or train one from nothing",
        "Trains on conversations: the answers are learned, the questions are not. Without --adapter the weights\n"
        "themselves are trained and DIR becomes a model folder; with it DIR becomes an adapter for `run --lora`\n"
        "and `merge`. DIR also gets log.jsonl, loss.svg, a TensorBoard event file and checkpoints. The memory that\n"
        "is needed is printed before the start. Ctrl-C writes a checkpoint and ends; --resume goes on from the\n"
        "newest one, with the same numbers as a run that was never stopped. Under mpirun the processes share the\n"
        "work and average their gradients.",
        "minicpm train sft model/ train.jsonl --adapter --out adapter/\n"
        "minicpm train sft model/ train.json --tune-vision off --lr 1e-5 --epochs 3 --out tuned/\n"
        "minicpm train sft model/ train.json --out tuned/ --resume\n"
        "mpirun -n 2 minicpm train sft model/ train.jsonl --adapter --out adapter/\n"
        "minicpm train sft --config recipes/pico/train.json --out pico/",
        run_train_sft},
    VerbRow{"doctor", "", "show what this machine offers",
            "Processor, kernels compiled in and chosen, threads, memory, disk space and library versions.", "",
            run_doctor},
    VerbRow{"version", "", "print the version", "Version, commit, compiler and kernels.", "", run_version},
    VerbRow{"completion", "bash|zsh|fish", "print a shell completion script", "Prints a script for the named shell.",
            "source <(minicpm completion bash)\n"
            "minicpm completion zsh > ~/.zfunc/_minicpm\n"
            "minicpm completion fish > ~/.config/fish/completions/minicpm.fish",
            run_completion},
    VerbRow{"help", "[VERB]", "explain a verb", "Prints an overview, or the help of one verb.", "minicpm help run",
            run_help},
};

}  // namespace

std::span<const OptionRow> option_rows() {
  return kOptions;
}

std::span<const VerbRow> verb_rows() {
  return kVerbs;
}

}  // namespace minicpm::cli
