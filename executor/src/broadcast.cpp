#include "weft/broadcast.hpp"

#include <stdexcept>

namespace weft::detail {

broadcast_core::broadcast_core(std::size_t room) : ring_(room) {
  if (room == 0) throw std::invalid_argument("weft::broadcast: there must be room for one value at least");
}

broadcast_core::~broadcast_core() {
  if (awaited()) destroyed_in_use("broadcast", this);
}

bool broadcast_core::put(holder& value) {
  return ask([&] {
    if (closed_) return false;
    ring_[count_ % ring_.size()].swap(value);
    advance();
    return true;
  });
}

std::uint64_t broadcast_core::next_number() const noexcept {
  auto& self = const_cast<broadcast_core&>(*this);  // to get inside; nothing changes
  return self.ask([this] { return count_; });
}

broadcast_core::got broadcast_core::await(std::uint64_t& next, deadline until) {
  checkpoint();
  for (;;) {
    got g;
    const bool there = ask([&] {
      if (next == count_) {
        g.closed = closed_;
        return closed_;
      }
      const std::uint64_t oldest = count_ > ring_.size() ? count_ - ring_.size() : 0;
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
    if (!await_beyond(next, until)) return {};
  }
}

}  // namespace weft::detail
