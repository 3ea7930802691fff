// Entry points of libpico_o_data, which `minicpm train` loads.
#include <exception>
#include <string>

#include "pico-o/source.h"

namespace {
thread_local std::string last_error;
}

#define PICO_O_EXPORT extern "C" __attribute__((visibility("default")))

/// A new source that the caller deletes, or null; minicpm_sample_source_error then tells why.
PICO_O_EXPORT minicpm::SampleSource* minicpm_sample_source(const char* options_json) {
  try {
    last_error.clear();
    return minicpm::pico_o::make_source(options_json == nullptr ? "" : options_json).release();
  } catch (const std::exception& error) {
    last_error = error.what();
    return nullptr;
  }
}

/// Why the last call of minicpm_sample_source on this thread gave null.
PICO_O_EXPORT const char* minicpm_sample_source_error() {
  return last_error.c_str();
}
