#include "engine/sessions.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "engine/session_file.h"

namespace minicpm {
namespace {

/// Gives a sequence back, however its use ends.
struct GiveBack {
  StepLoop& loop;
  Sequence& sequence;
  StepLoop::After after = StepLoop::After::kRelease;
  ~GiveBack() { loop.give_back(std::move(sequence), after); }
};

/// A file that is open, and its size.
struct OpenSession {
  std::ifstream in;
  uint64_t bytes = 0;

  explicit OpenSession(const std::filesystem::path& file) {
    std::error_code error;
    bytes = std::filesystem::file_size(file, error);
    if (error == std::errc::no_such_file_or_directory) {
      fail(ErrorCode::kNotFound, "{}: there is no such session file", file.string());
    }
    if (error) fail(ErrorCode::kIo, "{}: cannot be read: {}", file.string(), error.message());
    in.open(file, std::ios::binary);
    if (!in) fail(ErrorCode::kIo, "{}: cannot be read: {}", file.string(), std::strerror(errno));
  }
};

SessionHead head_of(const SessionParts& parts, const Sequence& sequence) {
  SessionHead head{.model = parts.model, .media_key = parts.media_key, .tokens = sequence.tokens};
  for (size_t m = 0; m < sequence.media.size(); ++m) {
    head.media.push_back({sequence.media_digests[m], sequence.media[m]->spans, sequence.media[m]->span_rows});
  }
  return head;
}

void check_own(const SessionParts& parts, const SessionHead& head, const std::string& file) {
  if (head.model != parts.model) {
    fail(ErrorCode::kUnsupported,
         "{}: the session belongs to another model, or was made with another adapter, --cache-type or precision; name "
         "another file, or delete it",
         file);
  }
  if (!head.media.empty() && (head.media_key.k0 != parts.media_key.k0 || head.media_key.k1 != parts.media_key.k1)) {
    fail(ErrorCode::kUnsupported, "{}: the session's media were named under the key of another folder", file);
  }
  const auto known = [&](int32_t id) { return id >= 0 && id < parts.vocab_size; };
  if (!std::ranges::all_of(head.tokens, known)) fail(ErrorCode::kBadFile, "{}: the session file is damaged", file);
}

}  // namespace

SessionInfo save_session(const SessionParts& parts, const std::filesystem::path& file, const std::string& scope,
                         const Sequence* prompt) {
  Sequence copy;  // its blocks have two owners, so that nobody writes them
  parts.loop.exclusively([&] {
    const Sequence* kept = parts.scheduler.find_kept(scope, prompt);
    if (kept != nullptr) parts.scheduler.fork(*kept, copy);
  });
  if (copy.blocks.empty()) return {};
  const GiveBack guard{parts.loop, copy};
  const int64_t bytes = write_session(file, head_of(parts, copy), parts.cache, copy.blocks);
  return {static_cast<int64_t>(copy.tokens.size()), bytes};
}

SessionInfo restore_session(const SessionParts& parts, const std::filesystem::path& file, const std::string& scope) {
  OpenSession open(file);
  SessionReader reader(open.in, open.bytes, file.string());
  const SessionHead& head = reader.head();
  check_own(parts, head, file.string());
  Sequence sequence;
  sequence.tokens = head.tokens;
  sequence.scope = scope;
  for (const SessionMedia& media : head.media) {
    auto places = std::make_shared<MediaItem>();
    places->spans = media.spans;
    places->span_rows = media.span_rows;
    sequence.media.push_back(std::move(places));
    sequence.media_digests.push_back(media.digest);
  }
  const auto tokens = static_cast<int64_t>(head.tokens.size());
  bool room = false;
  parts.loop.exclusively([&] { room = parts.scheduler.reserve_unused(sequence, tokens); });
  if (!room) {
    fail(ErrorCode::kOutOfMemory, "{}: the session has {} tokens, for which the KV cache of {} has no room now",
         file.string(), tokens, parts.cache.pool().num_blocks() * kBlockTokens);
  }
  GiveBack guard{parts.loop, sequence};
  reader.read_blocks(parts.cache, sequence.blocks);
  sequence.computed = tokens;
  guard.after = StepLoop::After::kKeep;
  return {tokens, static_cast<int64_t>(open.bytes)};
}

SipKey session_media_key(const std::filesystem::path& file) {
  OpenSession open(file);
  return SessionReader(open.in, open.bytes, file.string()).head().media_key;
}

}  // namespace minicpm
