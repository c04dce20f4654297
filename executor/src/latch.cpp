#include "weft/latch.hpp"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace weft {

latch::latch(std::ptrdiff_t expected) : count_(expected) {
  if (expected < 0) throw std::invalid_argument("weft::latch: a count of " + std::to_string(expected));
  if (expected == 0) word_.store(mark, std::memory_order_relaxed);
}

latch::~latch() {
  if (!waiters_.empty()) detail::destroyed_in_use("latch", this);
}

void latch::count_down(std::ptrdiff_t n) noexcept {
  perform_soon([this, n] {
    if (n < 0 || n > count_) {
      std::fprintf(stderr, "weft: latch::count_down(%td) with a count of %td\n", n, count_);
      std::abort();
    }
    count_ -= n;
    if (count_ > 0) return;
    set_mark(waiters_);
  });
}

}  // namespace weft
