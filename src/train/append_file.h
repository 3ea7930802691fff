// Writing whole records to an open file.
#pragma once

#include <filesystem>
#include <string_view>

namespace minicpm {

/// Throws Error with the text of errno: not_found for ENOENT and ENOTDIR, else io.
[[noreturn]] void fail_errno(const std::filesystem::path& path, const char* action);

/// Hands all bytes to the system, usually in one call, so that a killed process leaves no part of a record. Throws
/// Error io.
void write_all(int fd, std::string_view bytes, const std::filesystem::path& path);

}  // namespace minicpm
