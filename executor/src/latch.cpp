#include "weft/latch.hpp"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "cancellation.hpp"

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
    marks_ = mark;
    while (detail::wait_entry* e = waiters_.claim_front()) grant(*e);
  });
}

bool latch::wait_till(deadline until) {
  detail::agent& me = detail::checkpoint_of_caller();
  if (try_wait()) return true;
  detail::wait_entry e;
  e.carry_out = [](detail::request& r) noexcept {
    auto& self = static_cast<detail::wait_entry&>(r);
    auto& what = *static_cast<latch*>(self.where);
    if (!(what.marks_ & mark))
      what.waiters_.push_back(self);
    else if (self.claim())
      what.grant(self);
  };
  const wake_reason how = detail::monitor::wait(me, e, wait_kind::other, until);
  if (how == wake_reason::cancelled) detail::throw_cancelled(me);
  return how == wake_reason::woken;
}

}  // namespace weft
