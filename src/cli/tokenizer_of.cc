#include "cli/tokenizer_of.h"

#include <filesystem>
#include <system_error>

#include "io/gguf.h"
#include "io/gguf_vocabulary.h"
#include "io/model_files.h"
#include "text/tokenizer_loader.h"

namespace minicpm::cli {

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& model) {
  // A folder needs tokenizer files only, not a whole model.
  std::error_code error;
  const std::filesystem::path path = model_path(model);
  if (std::filesystem::is_directory(path, error)) return load_tokenizer(path);
  return make_tokenizer(read_vocabulary(*GgufFile::open(find_model_files(model, "").gguf)));
}

}  // namespace minicpm::cli
