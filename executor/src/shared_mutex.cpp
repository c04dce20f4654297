#include "weft/shared_mutex.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>

#include "scheduler.hpp"

namespace weft {

namespace detail {
namespace {

[[noreturn, gnu::cold]] void not_held(const char* what, const void* which) noexcept {
  std::fprintf(stderr, "weft: shared_mutex::%s of the one at %p, which nobody holds so\n", what, which);
  std::abort();
}

}  // namespace
}  // namespace detail

shared_mutex::~shared_mutex() {
  if (writing_ || readers_ > 0 || !waiters_.empty()) detail::destroyed_in_use("shared_mutex", this);
}

void shared_mutex::take(bool alone, detail::agent* who) noexcept {
  if (!alone) {
    ++readers_;
    return;
  }
  writing_ = true;
  writer_.store(who, std::memory_order_relaxed);
  writer_task_.store(who ? who->task_id.load(std::memory_order_relaxed) : 0, std::memory_order_relaxed);
}

// Lets in whom it can: a writer, or all readers up to the next writer.
void shared_mutex::admit() noexcept {
  while (auto* const e = static_cast<entry*>(waiters_.front())) {
    if (!can_take(e->alone)) return;
    waiters_.erase(*e);
    if (!e->claim()) continue;
    take(e->alone, e->me);
    grant(*e);
  }
}

bool shared_mutex::try_it(bool alone) noexcept {
  detail::agent* const me = detail::current_agent();
  const bool taken = ask([&] {
    if (!waiters_.empty() || !can_take(alone)) return false;
    take(alone, me);
    return true;
  });
  if (taken && me) me->hold(this);
  return taken;
}

bool shared_mutex::lock_until(bool alone, deadline until) {
  detail::agent& me = detail::waiting_agent();
  if (writer_.load(std::memory_order_relaxed) == &me &&
      writer_task_.load(std::memory_order_relaxed) == me.task_id.load(std::memory_order_relaxed))
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            "weft::shared_mutex: task #" +
                                std::to_string(writer_task_.load(std::memory_order_relaxed)) +
                                " locks a shared_mutex that it holds already");
  if (try_enter()) {
    const bool can = waiters_.empty() && can_take(alone);
    if (can) take(alone, &me);
    leave();
    if (can) {
      me.hold(this);
      return true;
    }
  }
  entry e;
  e.me = &me;
  e.alone = alone;
  e.carry_out = [](detail::request& r) noexcept {
    auto& self = static_cast<entry&>(r);
    auto& what = *static_cast<shared_mutex*>(self.where);
    what.waiters_.push_back(self);
    what.admit();
  };
  if (wait(me, e, wait_kind::lock, until, true) != wake_reason::woken) {
    perform_soon([this] { admit(); });  // those behind the one that gave up
    return false;
  }
  me.hold(this);
  return true;
}

[[gnu::cold]] void shared_mutex::check_owner() const noexcept {
  const detail::agent* const me = detail::current_agent();
  const auto mine = me ? me->task_id.load(std::memory_order_relaxed) : 0;
  const auto owner = writer_task_.load(std::memory_order_relaxed);
  if (mine == 0 || owner == 0 || mine == owner) return;
  std::fprintf(stderr, "weft: task #%llu unlocks the shared_mutex at %p, which task #%llu holds\n",
               static_cast<unsigned long long>(mine), static_cast<const void*>(this),
               static_cast<unsigned long long>(owner));
  std::abort();
}

void shared_mutex::unlock() noexcept {
#ifndef NDEBUG
  check_owner();
#endif
  if (detail::agent* const me = detail::current_agent()) me->give_up(this);
  writer_.store(nullptr, std::memory_order_relaxed);
  writer_task_.store(0, std::memory_order_relaxed);
  perform_soon([this] {
    if (!std::exchange(writing_, false)) detail::not_held("unlock()", this);
    admit();
  });
}

void shared_mutex::unlock_shared() noexcept {
  if (detail::agent* const me = detail::current_agent()) me->give_up(this);
  perform_soon([this] {
    if (readers_-- == 0) detail::not_held("unlock_shared()", this);
    admit();
  });
}

}  // namespace weft
