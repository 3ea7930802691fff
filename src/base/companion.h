// Shared libraries of the project that are loaded when their part is needed: what they bring along would make every
// start slower.
#pragma once

#include <filesystem>

namespace minicpm {

/// Where `library` ("libminicpm_video.so") lies: beside the program or library that this code is part of, or in the
/// library folder next to it, as built and as installed. Empty if it is in none.
std::filesystem::path find_companion(const char* library);

/// A function of that library, which stays loaded until the process ends. `need` says what is missing without it, for
/// the message: "this build cannot read videos". Throws Error unsupported if the library is absent, bad_file if it
/// cannot be loaded or lacks the function.
void* load_companion(const char* library, const char* function, const char* need);

}  // namespace minicpm
