// Training samples made by a shared library, for data that is generated or lies in a format of its own.
//
// The library exports two C functions:
//
//   extern "C" minicpm::SampleSource* minicpm_sample_source(const char* options_json);
//   extern "C" const char* minicpm_sample_source_error();
//
// The first makes a source from a JSON text; the caller deletes it. It returns null on failure, and the second then
// says why in one sentence. Exceptions must not leave either. The library is compiled against the headers of the same
// version of minicpm.
//
// A plug-in runs with all rights of the process: load only libraries whose origin is trusted as much as the program's.
#pragma once

#include <filesystem>
#include <memory>

#include "base/json.h"
#include "train/sample.h"

namespace minicpm {

/// Opens the library, which then stays loaded until the process ends, and makes a source with `options`. Throws Error:
/// not_found (no such file), bad_file (not a library, or not a plug-in), invalid_request (the plug-in refuses the
/// options).
std::unique_ptr<SampleSource> load_plugin_source(const std::filesystem::path& library, const Json& options);

}  // namespace minicpm
