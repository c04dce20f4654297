#include "weft/event.hpp"

namespace weft {

event::~event() {
  if (!waiters_.empty()) detail::destroyed_in_use("event", this);
}

void event::set() noexcept {
  if (settled_at(mark) || set_mark_at_home(waiters_)) return;  // settled: and nobody is about to clear it
  perform_soon([this] { set_mark(waiters_); });
}

void event::clear() noexcept {
  if (clear_mark_at_home()) return;
  perform_soon([this] { set_marks(0); });
}

}  // namespace weft
