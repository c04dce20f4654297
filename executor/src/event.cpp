#include "weft/event.hpp"

namespace weft {

event::~event() {
  if (!waiters_.empty()) detail::destroyed_in_use("event", this);
}

void event::set() noexcept {
  if (settled_at(mark)) return;  // and nobody is about to clear it
  perform_soon([this] { set_mark(waiters_); });
}

void event::clear() noexcept {
  perform_soon([this] { marks_ = 0; });
}

}  // namespace weft
