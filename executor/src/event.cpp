#include "weft/event.hpp"

#include "cancellation.hpp"

namespace weft {

event::~event() {
  if (!waiters_.empty()) detail::destroyed_in_use("event", this);
}

void event::set() noexcept {
  if (word_.load(std::memory_order_acquire) == mark) return;  // and nobody is about to clear it
  perform_soon([this] {
    marks_ = mark;
    while (detail::wait_entry* e = waiters_.claim_front()) grant(*e);
  });
}

void event::clear() noexcept {
  perform_soon([this] { marks_ = 0; });
}

bool event::wait_till(deadline until) {
  detail::agent& me = detail::checkpoint_of_caller();
  if (is_set()) return true;
  detail::wait_entry e;
  e.carry_out = [](detail::request& r) noexcept {
    auto& self = static_cast<detail::wait_entry&>(r);
    auto& what = *static_cast<event*>(self.where);
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
