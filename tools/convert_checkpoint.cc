// Converts a checkpoint in the Hugging Face layout into a GGUF pair.
//
//   convert_checkpoint FOLDER --type Q8_0 --out FILE.gguf
//
// writes FILE.gguf (language model and vocabulary) and, for models that see, mmproj-FILE.gguf beside it, which also
// gets the sound encoder and the speech decoder with its tokenizer and vocoder. With a folder as --out the files are
// called after the checkpoint's folder and the types.
//
// --type         F32, F16, BF16, a block format, or the mixtures Q4_K_M and Q5_K_M. Vectors stay F32; rows that are no
//                whole number of blocks get a related format with smaller blocks, or F16.
// --mmproj-type  the same for the projector; else --type if that is a float format, and F16 if not
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/thread_pool.h"
#include "checkpoint/convert.h"

namespace minicpm {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string folder, out, name;
  std::string type = "Q8_0";
  std::string mmproj_type;
  int threads = 0;
};

void convert(const Options& options) {
  fs::path folder = fs::path(options.folder);
  if (!folder.has_filename()) folder = folder.parent_path();  // "pico/"
  const TypeRow& type = type_row(options.type);
  const bool blocks = info(type.base).is_quantised;
  const TypeRow& mmproj_type = type_row(!options.mmproj_type.empty() ? options.mmproj_type
                                        : blocks                     ? std::string("F16")
                                                                     : options.type);
  const std::string name = options.name.empty() ? fs::weakly_canonical(folder).filename().string() : options.name;
  fs::path model = options.out, mmproj;
  if (model.extension() == ".gguf") {
    if (model.has_parent_path()) fs::create_directories(model.parent_path());
    mmproj = model.parent_path() / ("mmproj-" + model.filename().string());
  } else {
    fs::create_directories(model);
    mmproj = model / fmt::format("mmproj-{}-{}.gguf", name, mmproj_type.name);
    model /= fmt::format("{}-{}.gguf", name, type.name);
  }
  ThreadPool pool(options.threads);
  const auto left_out = convert_folder(folder, model, mmproj, {type, mmproj_type}, name, pool);
  if (!left_out.empty()) {
    fmt::print(stderr, "convert_checkpoint: {} tensors have no place in a GGUF pair and were left out, {} for one\n",
               left_out.size(), left_out[0]);
  }
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Converts a checkpoint in the Hugging Face layout into a GGUF pair.");
  app.add_option("folder", options.folder, "the checkpoint")->required();
  app.add_option("--out", options.out, "FILE.gguf, or a folder")->required();
  app.add_option("--type", options.type, "number format of the matrices: F32, BF16, Q8_0, Q4_K_M, ...")
      ->capture_default_str();
  app.add_option("--mmproj-type", options.mmproj_type, "the same for the projector file");
  app.add_option("--name", options.name, "general.name; else the folder's name");
  app.add_option("--threads", options.threads, "0: one per processor")->check(CLI::Range(0, 1024));
  CLI11_PARSE(app, argc, argv);
  try {
    convert(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "convert_checkpoint: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace minicpm

int main(int argc, char** argv) {
  return minicpm::run(argc, argv);
}
