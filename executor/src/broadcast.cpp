#include "weft/broadcast.hpp"

#include <stdexcept>

#include "cancellation.hpp"

namespace weft::detail {

broadcast_core::broadcast_core(std::size_t room) : ring_(room) {
  if (room == 0) throw std::invalid_argument("weft::broadcast: there must be room for one value at least");
}

broadcast_core::~broadcast_core() {
  if (!waiters_.empty()) destroyed_in_use("broadcast", this);
}

bool broadcast_core::put(holder& value) {
  return ask([&] {
    if (closed_) return false;
    ring_[sent_++ % ring_.size()].swap(value);
    while (wait_entry* e = waiters_.claim_front()) grant(*e);
    return true;
  });
}

std::uint64_t broadcast_core::next_number() const noexcept {
  auto& self = const_cast<broadcast_core&>(*this);  // to get inside; nothing changes
  return self.ask([this] { return sent_; });
}

broadcast_core::got broadcast_core::await(std::uint64_t& next, deadline until) {
  agent& me = checkpoint_of_caller();
  for (;;) {
    got g;
    const bool there = ask([&] {
      if (next == sent_) {
        g.closed = closed_;
        return closed_;
      }
      const std::uint64_t oldest = sent_ > ring_.size() ? sent_ - ring_.size() : 0;
      if (next < oldest)
        g.missed = oldest - next;
      else
        g.value = ring_[next % ring_.size()];
      return true;
    });
    if (there) {
      if (!g.closed) next += g.missed > 0 ? g.missed : 1;
      return g;
    }
    struct entry : wait_entry {
      std::uint64_t next = 0;
    } e;
    e.next = next;
    e.carry_out = [](request& r) noexcept {
      auto& self = static_cast<entry&>(r);
      auto& what = *static_cast<broadcast_core*>(self.where);
      if (what.sent_ == self.next && !what.closed_)
        what.waiters_.push_back(self);
      else if (self.claim())
        what.grant(self);
    };
    switch (monitor::wait(me, e, wait_kind::channel, until)) {
      case wake_reason::woken:
        break;
      case wake_reason::timed_out:
        return {};
      case wake_reason::cancelled:
        throw_cancelled(me);
    }
  }
}

void broadcast_core::end() noexcept {
  perform_soon([this] {
    closed_ = true;
    while (wait_entry* e = waiters_.claim_front()) grant(*e);
  });
}

}  // namespace weft::detail
