#pragma once
// What an echo's connections say: each message is another piece of one long text, so that no answer can pass for
// another connection's or an older one.

#include <cstddef>
#include <random>
#include <string>
#include <string_view>

#include "load.hpp"

namespace bench {

inline std::string long_text(std::size_t size) {
  std::string text(size + 10'007, ' ');
  std::mt19937 random(1);
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

class echoed {
 public:
  echoed(std::string_view text, std::size_t size, std::size_t begin) : text_(text), size_(size), begin_(begin) {}

  [[nodiscard]] std::string_view request() const { return text_.substr(begin_ % (text_.size() - size_), size_); }

  /// True when all is back; then the next message's turn has come.
  bool take(std::string_view bytes) {
    if (request().substr(back_, bytes.size()) != bytes) die("the echo is wrong");
    back_ += bytes.size();
    if (back_ < size_) return false;
    back_ = 0;
    begin_ += 97;
    return true;
  }

 private:
  std::string_view text_;
  std::size_t size_;
  std::size_t begin_;
  std::size_t back_ = 0;
};

}  // namespace bench
