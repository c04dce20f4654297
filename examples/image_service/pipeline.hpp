#pragma once
// From the bytes of an upload to the pictures that the page shows.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "codec.hpp"

namespace images {

struct size_of_version {
  std::string_view name;
  unsigned longest;  ///< pixels of the longer side
};
/// Largest first. A picture is never enlarged, so two versions may have the same size.
inline constexpr std::array<size_of_version, 3> sizes{{{"large", 1600}, {"medium", 800}, {"thumb", 320}}};

struct version {
  std::string name;
  format type = format::jpeg;
  unsigned width = 0;
  unsigned height = 0;
  std::string bytes;
};

struct processed {
  format was = format::jpeg;
  unsigned width = 0;  ///< upright
  unsigned height = 0;
  std::vector<version> versions;
  std::vector<std::string> warnings;
};

/// SHA-256, in hexadecimal digits: what a picture is called by.
std::string digest(std::string_view bytes);

/// Decodes, turns upright, resizes and encodes. In a CPU task, on as many workers as are free. Throws bad_picture,
/// weft::cancelled.
processed process(std::string_view bytes, const decode_limits& most);

}  // namespace images
