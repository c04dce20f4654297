#include "weft/condition_variable.hpp"

#include <system_error>

#include "cancellation.hpp"

namespace weft {

condition_variable::~condition_variable() {
  if (!waiters_.empty()) detail::destroyed_in_use("condition_variable", this);
}

void condition_variable::notify(bool all) noexcept {
  perform_soon([this, all] {
    do {
      detail::wait_entry* const e = waiters_.claim_front();
      if (!e) return;
      grant(*e);
    } while (all);
  });
}

void condition_variable::check(bool owns) {
  if (!owns)
    throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                            "weft::condition_variable: wait() with a lock that does not own its mutex");
}

bool condition_variable::wait_unlocked(deadline until, void (*unlock)(void*), void* lock) {
  detail::agent& me = detail::checkpoint_of_caller();
  detail::wait_entry e;
  e.carry_out = [](detail::request& r) noexcept {
    auto& self = static_cast<detail::wait_entry&>(r);
    static_cast<condition_variable*>(self.where)->waiters_.push_back(self);
  };
  const wake_reason how = detail::monitor::wait(me, e, wait_kind::other, until, false, unlock, lock);
  if (how == wake_reason::cancelled) detail::throw_cancelled(me);
  return how == wake_reason::woken;
}

}  // namespace weft
