#pragma once
// What the servers send, again and again: 256 KiB, so that a write is a large one.

#include <cstddef>
#include <string>
#include <string_view>

namespace bench {

inline std::string_view block() {
  static const std::string all = [] {
    std::string text(256 * 1024, ' ');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7 + i / 251);
    return text;
  }();
  return all;
}

}  // namespace bench
