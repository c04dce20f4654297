#include "weft/watch.hpp"

#include "cancellation.hpp"

namespace weft::detail {

watch_core::~watch_core() {
  if (!waiters_.empty()) destroyed_in_use("watch", this);
}

watch_core::holder watch_core::put(holder value) {
  const bool open = ask([&] {
    if (closed_) return false;
    value_.swap(value);
    ++version_;
    while (wait_entry* e = waiters_.claim_front()) grant(*e);
    return true;
  });
  return open ? std::move(value) : nullptr;
}

watch_core::seen watch_core::look() const noexcept {
  auto& self = const_cast<watch_core&>(*this);  // to get inside; nothing changes
  seen s;
  (void)self.ask([&] {
    s = {value_, version_, closed_};
    return true;
  });
  return s;
}

watch_core::seen watch_core::await(std::uint64_t version, deadline until) {
  agent& me = checkpoint_of_caller();
  for (;;) {
    seen s = look();
    if (s.version > version) {
      s.closed = false;
      return s;
    }
    if (s.closed) return s;
    entry e;
    e.version = version;
    e.carry_out = [](request& r) noexcept {
      auto& self = static_cast<entry&>(r);
      auto& what = *static_cast<watch_core*>(self.where);
      if (what.version_ == self.version && !what.closed_)
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

void watch_core::end() noexcept {
  perform_soon([this] {
    closed_ = true;
    while (wait_entry* e = waiters_.claim_front()) grant(*e);
  });
}

}  // namespace weft::detail
