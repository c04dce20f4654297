#pragma once
// JPEG and PNG in and out, by libjpeg-turbo and libpng. What comes in is not to be trusted.
//
// All of it computes, so call it in a CPU task: it looks for a cancellation at least once a row.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bitmap.hpp"

namespace images {

enum class format : std::uint8_t { jpeg, png };

constexpr std::string_view media_type(format f) { return f == format::jpeg ? "image/jpeg" : "image/png"; }
constexpr std::string_view extension(format f) { return f == format::jpeg ? "jpg" : "png"; }

/// A picture that cannot be had, with the reason for whoever sent it.
class bad_picture : public std::runtime_error {
 public:
  enum class problem : std::uint8_t {
    unknown_format,  ///< neither JPEG nor PNG
    too_large,       ///< says of itself that it has too many pixels
    corrupt
  };
  bad_picture(problem what, const std::string& why) : std::runtime_error(why), what_(what) {}
  [[nodiscard]] problem what_is_wrong() const noexcept { return what_; }

 private:
  problem what_;
};

struct decode_limits {
  std::uint64_t pixels = 40'000'000;  ///< known from the header, before any pixel is decoded
  unsigned scans = 100;               ///< of a progressive JPEG: each one costs a pass over the picture
};

struct decoded {
  format was = format::jpeg;
  unsigned width = 0;  ///< of the picture as sent; `pixels` may be smaller
  unsigned height = 0;
  unsigned orientation = 1;  ///< how to hold `pixels`: EXIF's 1 to 8
  bitmap pixels;
  std::vector<std::string> warnings;  ///< what the codec put up with
};

/// The picture with its longer side at least `wanted` pixels if it has so many: a JPEG's decoder can leave the rest
/// out, which is several times as fast. Throws bad_picture, weft::cancelled.
decoded decode(std::string_view bytes, const decode_limits& most, unsigned wanted);

/// A JPEG, or a PNG if there is an alpha channel. Throws weft::cancelled.
std::string encode(const bitmap& picture);
constexpr format format_of(const bitmap& picture) { return picture.channels == 4 ? format::png : format::jpeg; }

namespace detail {
decoded decode_jpeg(std::string_view bytes, const decode_limits& most, unsigned wanted);
decoded decode_png(std::string_view bytes, const decode_limits& most);
std::string encode_jpeg(const bitmap& picture);
std::string encode_png(const bitmap& picture);
void check_size(unsigned width, unsigned height, const decode_limits& most);
}  // namespace detail

}  // namespace images
