// A plug-in that counts: sample i asks for the word of the options and is answered with i.
#include <fmt/format.h>

#include "base/json.h"
#include "train/sample.h"

namespace {

std::string problem;

class CountingSource : public minicpm::SampleSource {
 public:
  CountingSource(int64_t size, std::string word) : size_(size), word_(std::move(word)) {}
  int64_t size() const override { return size_; }
  minicpm::TrainingSample sample(int64_t index) const override {
    if (index >= size_) minicpm::fail(minicpm::ErrorCode::kNotFound, "there is no sample {}", index);
    minicpm::TrainingSample sample;
    sample.origin = fmt::format("{}:{}", word_, index);
    return sample;
  }

 private:
  int64_t size_;
  std::string word_;
};

}  // namespace

extern "C" minicpm::SampleSource* minicpm_sample_source(const char* options_json) {
  try {
    const minicpm::Json json = minicpm::parse_json(options_json, "options");
    const minicpm::JsonObject options(json, "options");
    const auto size = options.find_int("size");
    if (!size) {
      problem = "size is missing";
      return nullptr;
    }
    if (*size < 0) throw 17;  // against the rules
    if (*size == 0) {
      problem.clear();
      return nullptr;
    }
    return new CountingSource(*size, options.find_string("word").value_or("sample"));
  } catch (const std::exception& error) {
    problem = error.what();
    return nullptr;
  }
}

extern "C" const char* minicpm_sample_source_error() {
  return problem.empty() ? nullptr : problem.c_str();
}
