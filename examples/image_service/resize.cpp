#include "resize.hpp"

#include <stb/stb_image_resize.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "parallel.hpp"

namespace images {

namespace {

constexpr unsigned band = 32;  // rows of the result: some milliseconds of work

unsigned scaled(unsigned side, unsigned longest, unsigned longer) {
  return std::max(1u, static_cast<unsigned>(std::lround(double{1} * side * longest / longer)));
}

}  // namespace

bitmap fit_into(const bitmap& from, unsigned longest) {
  const unsigned longer = std::max(from.width, from.height);
  if (longer <= longest) return from;
  bitmap to(scaled(from.width, longest, longer), scaled(from.height, longest, longer), from.channels);
  const float x_scale = static_cast<float>(to.width) / static_cast<float>(from.width);
  const float y_scale = static_cast<float>(to.height) / static_cast<float>(from.height);

  in_parallel((to.height + band - 1) / band, [&](unsigned i) {
    const unsigned first = i * band;
    const unsigned rows = std::min(band, to.height - first);
    const int done = stbir_resize_subpixel(
        from.pixels.data(), static_cast<int>(from.width), static_cast<int>(from.height),
        static_cast<int>(from.stride()), to.row(first), static_cast<int>(to.width), static_cast<int>(rows),
        static_cast<int>(to.stride()), STBIR_TYPE_UINT8, static_cast<int>(from.channels),
        from.channels == 4 ? 3 : STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP, STBIR_EDGE_CLAMP, STBIR_FILTER_DEFAULT,
        STBIR_FILTER_DEFAULT, STBIR_COLORSPACE_SRGB, nullptr, x_scale, y_scale, 0.0F, static_cast<float>(first));
    if (done == 0) throw std::bad_alloc();
  });
  return to;
}

bitmap upright(bitmap from, unsigned orientation) {
  if (orientation <= 1 || orientation > 8) return from;
  const bool lies = orientation >= 5;  // rows become columns
  bitmap to(lies ? from.height : from.width, lies ? from.width : from.height, from.channels);
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (unsigned y = 0; y < to.height; ++y)
    for (unsigned x = 0; x < to.width; ++x) {
      const unsigned along = lies ? y : x;
      const unsigned down = lies ? x : y;
      const unsigned source_x = from_right ? from.width - 1 - along : along;
      const unsigned source_y = from_bottom ? from.height - 1 - down : down;
      std::memcpy(to.row(y) + std::size_t{x} * to.channels, from.row(source_y) + std::size_t{source_x} * to.channels,
                  to.channels);
    }
  return to;
}

}  // namespace images
