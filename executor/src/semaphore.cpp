#include "weft/semaphore.hpp"

#include <stdexcept>
#include <string>

#include "cancellation.hpp"

namespace weft {

semaphore::semaphore(std::ptrdiff_t permits, std::ptrdiff_t most) : most_(most), permits_(permits) {
  if (permits < 0 || permits > most)
    throw std::invalid_argument("weft::semaphore: " + std::to_string(permits) +
                                " permits; there must be between 0 and " + std::to_string(most));
}

semaphore::~semaphore() {
  if (!waiters_.empty()) detail::destroyed_in_use("semaphore", this);
}

bool semaphore::try_acquire() noexcept {
  return ask([this] { return permits_ > 0 ? (--permits_, true) : false; });
}

bool semaphore::acquire_until(deadline until) {
  detail::agent& me = detail::checkpoint_of_caller();
  if (try_enter()) {
    const bool there = permits_ > 0;
    if (there) --permits_;
    leave();
    if (there) return true;
  }
  detail::wait_entry e;
  e.carry_out = [](detail::request& r) noexcept {
    auto& self = static_cast<detail::wait_entry&>(r);
    static_cast<semaphore*>(self.where)->take_or_link(self);
  };
  const wake_reason how = wait(me, e, wait_kind::lock, until);
  if (how == wake_reason::cancelled) detail::throw_cancelled(me);
  return how == wake_reason::woken;
}

// There are no permits while somebody waits.
void semaphore::take_or_link(detail::wait_entry& e) noexcept {
  if (permits_ == 0) {
    waiters_.push_back(e);
  } else if (e.claim()) {
    --permits_;
    grant(e);
  }
}

void semaphore::give(std::ptrdiff_t count) noexcept {
  for (; count > 0; --count) {
    detail::wait_entry* const e = waiters_.claim_front();
    if (!e) break;
    grant(*e);
  }
  permits_ += count < max() - permits_ ? count : max() - permits_;
}

void semaphore::release(std::ptrdiff_t count) {
  if (count < 0) throw std::invalid_argument("weft::semaphore::release(" + std::to_string(count) + ")");
  if (most_ == max()) {
    perform_soon([this, count] { give(count); });
    return;
  }
  const bool fits = ask([this, count] {
    if (count > most_ - permits_) return false;
    give(count);
    return true;
  });
  if (!fits)
    throw std::logic_error("weft::semaphore: release(" + std::to_string(count) + ") makes more than the " +
                           std::to_string(most_) + " permits there may be");
}

}  // namespace weft
