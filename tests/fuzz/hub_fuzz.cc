// What a hub answers, names of models, and names of the cache's folders.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "hub/repository.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(minicpm::hub_name_of_folder(text));
  const auto name = minicpm::parse_hub_name(text).value_or(minicpm::HubName{"org", "name"});
  try {
    const auto repository = minicpm::hub::read_repository(text, "answer");
    static_cast<void>(minicpm::hub::needed_files(repository, name));
  } catch (const minicpm::Error& error) {
    if (error.code() == minicpm::ErrorCode::kInternal) std::abort();
  }
  return 0;
}
