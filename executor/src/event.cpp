#include "weft/event.hpp"

namespace weft {

event::~event() {
  if (!waiters_.empty()) detail::destroyed_in_use("event", this);
}

// The ways of one that is no loop's own are functions of their own, so that the others keep nothing over a call.

void event::set() noexcept {
  if (!set_mark_at_home(waiters_)) set_for_others();
}

[[gnu::noinline]] void event::set_for_others() noexcept {
  if (settled_at(mark)) return;  // and nobody is about to clear it
  perform_soon([this] { set_mark(waiters_); });
}

void event::clear() noexcept {
  if (!clear_mark_at_home()) clear_for_others();
}

[[gnu::noinline]] void event::clear_for_others() noexcept {
  perform_soon([this] { set_marks(0); });
}

}  // namespace weft
