#include "codec.hpp"

namespace images {

namespace {
using namespace std::string_view_literals;
constexpr auto jpeg_begins = "\xFF\xD8\xFF"sv;
constexpr auto png_begins = "\x89PNG\r\n\x1A\n"sv;
}  // namespace

decoded decode(std::string_view bytes, const decode_limits& most, unsigned wanted) {
  if (bytes.empty()) throw bad_picture(bad_picture::problem::corrupt, "the picture is empty");
  if (bytes.starts_with(jpeg_begins)) return detail::decode_jpeg(bytes, most, wanted);
  if (bytes.starts_with(png_begins)) return detail::decode_png(bytes, most);
  throw bad_picture(bad_picture::problem::unknown_format, "this is neither a JPEG nor a PNG");
}

std::string encode(const bitmap& picture) {
  return format_of(picture) == format::png ? detail::encode_png(picture) : detail::encode_jpeg(picture);
}

void detail::check_size(unsigned width, unsigned height, const decode_limits& most) {
  if (width == 0 || height == 0) throw bad_picture(bad_picture::problem::corrupt, "the picture has no pixels");
  if (std::uint64_t{width} * height > most.pixels)
    throw bad_picture(bad_picture::problem::too_large, "the picture has " + std::to_string(width) + " x " +
                                                           std::to_string(height) + " pixels; the most is " +
                                                           std::to_string(most.pixels));
}

}  // namespace images
