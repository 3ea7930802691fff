// Every block format against rows that an independent decoder produced.
#include <cmath>

#include "io/gguf.h"
#include "io/npy.h"
#include "io_test_util.h"
#include "quant/format.h"

namespace minicpm {
namespace {

using namespace testing_io;

TEST(RowsGolden, DequantisedRowsAreExact) {
  const auto folder = golden_folder() / "gguf/rows";
  if (!std::filesystem::exists(folder / "rows.gguf")) GTEST_SKIP() << "no reference data (set MINICPM_GOLDEN)";
  const auto file = GgufFile::open(folder / "rows.gguf");
  ASSERT_GE(file->tensors().size(), 14u);
  for (const StoredTensor& tensor : file->tensors()) {
    const NpyArray expected = read_npy(folder / (tensor.name + ".npy"));
    ASSERT_EQ(name(tensor.view.dtype), tensor.name);
    ASSERT_EQ(expected.shape, std::vector<int64_t>(tensor.view.dims, tensor.view.dims + tensor.view.rank));
    std::vector<float> row(static_cast<size_t>(tensor.view.cols()));
    for (int64_t r = 0; r < tensor.view.rows(); ++r) {
      dequantize_row(tensor.view.dtype, tensor.view.row(r), row.data(), tensor.view.cols());
      for (int64_t c = 0; c < tensor.view.cols(); ++c) {
        const float want = expected.f32()[static_cast<size_t>(r * tensor.view.cols() + c)];
        ASSERT_EQ(row[static_cast<size_t>(c)], want) << tensor.name << " row " << r << " column " << c;
      }
    }
  }
}

}  // namespace
}  // namespace minicpm
