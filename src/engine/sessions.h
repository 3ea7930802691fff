// Computed prompts that outlive the program: from the sequences that an engine keeps to files, and back.
#pragma once

#include <filesystem>
#include <string>

#include "engine/chat.h"
#include "engine/step_loop.h"

namespace minicpm {

/// An engine's parts, and what tells whether a session is its own.
struct SessionParts {
  StepLoop& loop;
  Scheduler& scheduler;  // used inside loop.exclusively() only
  KvCache& cache;
  Digest128 model = {};
  SipKey media_key;
  int64_t vocab_size = 0;
};

/// Writes the sequence of that scope that was used last; with `prompt` the longest one that begins with all of it.
/// Others are computed meanwhile. Nothing, and no tokens, where there is none. Throws Error io, not_found.
SessionInfo save_session(const SessionParts& parts, const std::filesystem::path& file, const std::string& scope,
                         const Sequence* prompt);

/// Keeps what the file holds as if that scope had computed it. Throws Error not_found, io; bad_file as SessionReader;
/// unsupported for a session of another model or key; out_of_memory where the cache has no room beside what runs.
SessionInfo restore_session(const SessionParts& parts, const std::filesystem::path& file, const std::string& scope);

}  // namespace minicpm
