// Pictures and checks that the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "media/image.h"

namespace minicpm {

inline uint32_t crc32_of(std::span<const uint8_t> bytes) {
  uint32_t crc = ~0u;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  return ~crc;
}

inline Image noise_image(int width, int height, uint32_t seed) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  std::mt19937 random(seed);
  for (uint8_t& sample : image.rgb)
    sample = static_cast<uint8_t>(random());
  return image;
}

/// Slopes of colour with some noise: compresses and upsamples like a photograph.
inline Image soft_image(int width, int height, uint32_t seed) {
  Image image = noise_image(width, height, seed);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = image.rgb.data() + (static_cast<size_t>(y) * width + x) * 3;
      pixel[0] = static_cast<uint8_t>(x * 200 / width + pixel[0] / 16);
      pixel[1] = static_cast<uint8_t>(y * 200 / height + pixel[1] / 16);
      pixel[2] = static_cast<uint8_t>((x + y) * 100 / (width + height) + pixel[2] / 16);
    }
  }
  return image;
}

inline std::span<const std::byte> as_file(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// The error that decoding gives; fails the test if it gives none.
inline Error decode_error(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options = {}) {
  try {
    (void)decode_image(bytes, name, options);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << name << " was decoded";
  return Error(ErrorCode::kInternal, "");
}

}  // namespace minicpm
