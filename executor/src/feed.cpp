#include "weft/feed.hpp"

#include "cancellation.hpp"

namespace weft::detail {

void feed::wake_all() noexcept {
  while (wait_entry* e = waiters_.claim_front()) grant(*e);
}

void feed::advance() noexcept {
  ++count_;
  wake_all();
}

void feed::end() noexcept {
  perform_soon([this] {
    closed_ = true;
    wake_all();
  });
}

bool feed::await_beyond(std::uint64_t seen, deadline until) {
  agent& me = waiting_agent();
  struct entry : wait_entry {
    std::uint64_t seen = 0;
  } e;
  e.seen = seen;
  e.carry_out = [](request& r) noexcept {
    auto& self = static_cast<entry&>(r);
    auto& what = *static_cast<feed*>(self.where);
    if (what.count_ <= self.seen && !what.closed_)
      what.waiters_.push_back(self);
    else if (self.claim())
      what.grant(self);
  };
  const wake_reason how = monitor::wait(me, e, wait_kind::channel, until);
  if (how == wake_reason::cancelled) throw_cancelled(me);
  return how == wake_reason::woken;
}

}  // namespace weft::detail
