// Files that PyTorch itself writes, read without it.
#include "io/torch_file.h"

#include <gtest/gtest.h>
#include <torch/serialize.h>
#include <torch/torch.h>

namespace minicpm {
namespace {

TEST(TorchFile, ReadsWhatTorchWrites) {
  c10::Dict<std::string, at::Tensor> dictionary;
  const at::Tensor matrix = at::arange(6, at::kFloat).reshape({2, 3});
  dictionary.insert("a.weight", matrix);
  dictionary.insert("transposed", matrix.t());
  dictionary.insert("row", matrix[1]);
  dictionary.insert("half", at::ones({3}, at::kHalf));
  dictionary.insert("scalar", at::scalar_tensor(5, at::kLong));
  const std::vector<char> file = torch::pickle_save(dictionary);
  const auto tensors = parse_torch_file(std::as_bytes(std::span(file)), "a.pt");
  ASSERT_EQ(tensors.size(), 5u);
  for (const TorchTensor& tensor : tensors) {
    const at::Tensor expected = dictionary.at(tensor.name);
    EXPECT_EQ(at::IntArrayRef(tensor.shape), expected.sizes()) << tensor.name;
    EXPECT_EQ(at::IntArrayRef(tensor.strides), expected.strides()) << tensor.name;
    EXPECT_EQ(static_cast<int64_t>(tensor.bytes.size() / expected.element_size()), expected.numel()) << tensor.name;
    const at::Tensor got =
        at::from_blob(const_cast<std::byte*>(tensor.bytes.data()), tensor.shape, tensor.strides, expected.options());
    EXPECT_TRUE(at::equal(got, expected)) << tensor.name;
  }
}

}  // namespace
}  // namespace minicpm
