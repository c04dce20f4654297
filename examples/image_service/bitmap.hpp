#pragma once
// A decoded picture.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace images {

/// Rows of pixels without gaps: three bytes a pixel (red, green, blue), or four with alpha.
struct bitmap {
  unsigned width = 0;
  unsigned height = 0;
  unsigned channels = 3;
  std::vector<std::uint8_t> pixels;

  bitmap() = default;
  bitmap(unsigned w, unsigned h, unsigned c) : width(w), height(h), channels(c), pixels(std::size_t{w} * h * c) {}

  [[nodiscard]] std::size_t stride() const { return std::size_t{width} * channels; }
  [[nodiscard]] std::uint8_t* row(unsigned y) { return pixels.data() + y * stride(); }
  [[nodiscard]] const std::uint8_t* row(unsigned y) const { return pixels.data() + y * stride(); }
};

}  // namespace images
