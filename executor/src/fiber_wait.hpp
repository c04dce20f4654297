#pragma once
// A wait of a fiber, in line: what `waiter` does, for the few callers that every task passes through. They have asked
// already who runs here, whether it may be cancelled, and that there is no deadline.

#include <atomic>
#include <cstdint>

#include "fiber_agent.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

[[noreturn]] void throw_wait_in_algorithm(const agent& a);
void check_fp_control(const agent& a);

/// What costs nothing when it does not happen is checked where a fiber really parks.
[[gnu::always_inline]] inline void check_can_park(const agent& a) {
  if (a.what == agent::kind::fiber && in_foreign_algorithm()) [[unlikely]]
    throw_wait_in_algorithm(a);
#ifndef NDEBUG
  check_fp_control(a);
#endif
}

/// Begins a wait; gives its word.
[[gnu::always_inline]] inline std::uint64_t announce(agent& a, wait_kind kind, const void* target,
                                                     std::uint64_t target_task) noexcept {
  const auto number = (a.word.load(std::memory_order_relaxed) & ~std::uint64_t{agent::state_mask}) + agent::one_wait;
  const auto word = number | agent::waiting;
  a.target.store(target, std::memory_order_relaxed);
  a.target_task.store(target_task, std::memory_order_relaxed);
  a.waits_for.store(kind, std::memory_order_release);
  a.word.store(word, std::memory_order_release);
  return word;
}
/// Ends it.
[[gnu::always_inline]] inline void take_back(agent& a, std::uint64_t word) noexcept {
  a.waits_for.store(wait_kind::none, std::memory_order_release);
  a.word.store(word & ~std::uint64_t{agent::state_mask}, std::memory_order_release);
}

constexpr std::uint64_t decided(std::uint64_t word, wake_reason reason) noexcept {
  return (word & ~std::uint64_t{agent::state_mask}) | static_cast<std::uint64_t>(reason);
}
// A waker is in one pair of hands, and on the fiber's own loop nothing else runs now: no other thread can decide this
// wait, so it takes no read-modify-write. Timeouts and cancellations, which may race with a waker in the hands of
// another thread, take the CAS.
[[gnu::always_inline]] inline bool decide_plainly(agent& a, std::uint64_t word) noexcept {
  if (a.word.load(std::memory_order_relaxed) != word) return false;
  a.word.store(decided(word, wake_reason::woken), std::memory_order_relaxed);
  return true;
}

class fiber_wait {
 public:
  [[gnu::always_inline]] fiber_wait(agent& who, wait_kind kind, const void* target, std::uint64_t target_task)
      : agent_(who) {
    check_can_park(who);
    word_ = announce(who, kind, target, target_task);
  }
  [[gnu::always_inline]] ~fiber_wait() { take_back(agent_, word_); }
  fiber_wait(const fiber_wait&) = delete;
  fiber_wait& operator=(const fiber_wait&) = delete;

  [[nodiscard]] waker handle() const noexcept { return waker(&agent_, word_); }

  /// Woken or cancelled.
  [[gnu::always_inline]] wake_reason park() noexcept {
    agent_.turn = 0;
    agent_.cancellable.store(true, std::memory_order_relaxed);
    agent_.home->suspend(static_cast<fiber_agent&>(agent_));
    agent_.cancellable.store(false, std::memory_order_relaxed);
    return static_cast<wake_reason>(agent_.word.load(std::memory_order_acquire) & agent::state_mask);
  }

  // The other side: waker::claim_alone() and resume(), in line for a fiber of the calling loop.
  [[nodiscard, gnu::always_inline]] static bool claim_alone(const waker& w) noexcept {
    return is_near(*w.who_) ? decide_plainly(*w.who_, w.word_) : w.claim();
  }
  static void resume(const waker& w) noexcept {
    if (is_near(*w.who_))
      tl_loop->ready(w.who_);
    else
      w.resume();
  }

 private:
  static bool is_near(const agent& a) noexcept { return a.home == tl_loop && a.what == agent::kind::fiber; }

  agent& agent_;
  std::uint64_t word_;
};

}  // namespace weft::detail
