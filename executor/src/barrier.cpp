#include "weft/barrier.hpp"

#include <stdexcept>
#include <string>

#include "cancellation.hpp"

namespace weft::detail {

barrier_core::barrier_core(std::ptrdiff_t expected) : expected_(expected), missing_(expected) {
  if (expected <= 0)
    throw std::invalid_argument("weft::barrier: " + std::to_string(expected) + " expected; there must be at least one");
}

barrier_core::~barrier_core() {
  if (!waiters_.empty()) destroyed_in_use("barrier", this);
}

barrier_core::arrival barrier_core::arrive(std::ptrdiff_t n, bool drop) {
  bool too_many = false;
  const arrival mine = ask([&] {
    too_many = n <= 0 || n > missing_;
    if (too_many) return arrival{};
    const auto before = static_cast<std::size_t>(expected_ - missing_);
    if (drop) --expected_;
    missing_ -= n;
    return arrival{phase_, before, missing_ == 0};
  });
  if (too_many)
    throw std::logic_error("weft::barrier: arrive(" + std::to_string(n) + ") is more than are still expected");
  return mine;
}

void barrier_core::complete() noexcept {
  perform_soon([this] {
    ++phase_;
    missing_ = expected_;
    while (wait_entry* e = waiters_.claim_front()) grant(*e);
  });
}

void barrier_core::await(std::uint64_t phase, bool withdraws) {
  agent& me = waiting_agent();
  entry e;
  e.phase = phase;
  e.carry_out = [](request& r) noexcept {
    auto& self = static_cast<entry&>(r);
    auto& what = *static_cast<barrier_core*>(self.where);
    if (what.phase_ == self.phase)
      what.waiters_.push_back(self);
    else if (self.claim())
      what.grant(self);
  };
  if (monitor::wait(me, e, wait_kind::other) == wake_reason::woken) return;
  if (withdraws)
    (void)ask([&] {
      if (phase_ == phase && missing_ > 0) ++missing_;
      return true;
    });
  throw_cancelled(me);
}

}  // namespace weft::detail
