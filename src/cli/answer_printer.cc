#include "cli/answer_printer.h"

#include <fmt/format.h>

#include "cli/terminal.h"

namespace minicpm::cli {

namespace {

/// Control characters in what a model says must not reach a terminal; a file or a program gets the text as it is.
std::string shown(const std::string& text, bool on_terminal) {
  return on_terminal ? printable(text) : text;
}

}  // namespace

AnswerPrinter::AnswerPrinter(bool stream) : stream_(stream) {}

OnDelta AnswerPrinter::on_delta() {
  if (!stream_) return {};
  return [this](const TextDelta& delta) { show(delta); };
}

void AnswerPrinter::show(const TextDelta& delta) {
  if (delta.reasoning) {
    note(dim(shown(delta.text, errors_are_on_terminal())));
    shown_reasoning_ = true;
    return;
  }
  if (shown_reasoning_) note("\n\n");
  shown_reasoning_ = false;
  print(shown(delta.text, output_is_terminal()));
  flush_output();
}

void AnswerPrinter::finish(const ChatResult& result) {
  if (!stream_) {
    if (result.reasoning) show({*result.reasoning, true});
    show({result.text, false});
  }
  if (shown_reasoning_) note("\n");  // the answer ended inside its reasoning
  shown_reasoning_ = false;
  print("\n");
  flush_output();
}

void print_timings(const Engine& engine, const ChatResult& result) {
  const Timings& t = result.timings;
  const Usage& u = result.usage;
  const auto line = [](std::string_view name, double ms, const std::string& remark) {
    note(fmt::format("{:<12}{:>10.1f} ms{}{}\n", name, ms, remark.empty() ? "" : "  ", remark));
  };
  note(fmt::format("backend     {}\n", engine.backend_description()));
  line("load", t.load_ms, "");
  line("preprocess", t.preprocess_ms, fmt::format("{} pictures, {} frames, {} slices", u.images, u.frames, u.slices));
  line("vision", t.vision_ms, fmt::format("{} tokens", u.image_tokens));
  line("prefill", t.prefill_ms,
       fmt::format("{} tokens in the prompt, {:.1f} tokens/s", u.prompt_tokens, t.prefill_tokens_per_second));
  line("first token", t.ttft_ms, "");
  line("decode", t.decode_ms,
       fmt::format("{} tokens, {:.1f} tokens/s, ended by {}", u.completion_tokens, t.decode_tokens_per_second,
                   name(result.finish_reason)));
  if (t.drafted > 0) note(fmt::format("{:<12}{:>10} of {} guesses were right\n", "drafts", t.accepted, t.drafted));
  note(fmt::format("{:<12}{:>13} at most\n", "activations",
                   bytes_text(static_cast<int64_t>(engine.peak_activation_bytes()))));
}

}  // namespace minicpm::cli
