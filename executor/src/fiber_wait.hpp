#pragma once
// A wait, in line: what `waiter` does. park() for every wait; fiber_wait for the few that every task passes through,
// which have asked already who runs here, whether it may be cancelled, and that there is no deadline.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "fiber_agent.hpp"
#include "runtime_core.hpp"
#include "switching.hpp"
#include "weft/rarely.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

[[noreturn]] void throw_wait_in_algorithm(const agent& a);
bool has_changed_fp_control(const agent& a) noexcept;
[[noreturn]] void throw_fp_control_changed(const agent& a);

/// What costs nothing when it does not happen is checked where a fiber really parks.
[[gnu::always_inline]] inline void check_can_park(const agent& a) {
  if (a.what == agent::kind::fiber) [[likely]]
    if (rarely(in_foreign_algorithm())) throw_wait_in_algorithm(a);
#ifndef NDEBUG
  if (has_changed_fp_control(a)) throw_fp_control_changed(a);
#endif
}
/// Whether that would let a fiber park. Without memory for oneTBB's first look at a thread the program ends.
[[gnu::always_inline]] inline bool can_park([[maybe_unused]] const agent& fiber) noexcept {
#ifndef NDEBUG
  if (has_changed_fp_control(fiber)) return false;
#endif
  return !in_foreign_algorithm();
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

[[gnu::always_inline]] inline void is_about_to_park(agent& a, bool deaf = false) noexcept {
  a.turn = 0;
  a.cancellable.store(!deaf, std::memory_order_relaxed);
}

/// The deadline of a fiber's wait: the wait's own, or the one that its task has from its parent.
class time_limit final : timer {
 public:
  time_limit(const waker& of, deadline until, bool deaf) noexcept;
  /// Before the fiber parks. False when the wait is over already.
  [[nodiscard]] bool begin() noexcept;
  /// Afterwards; `how` the wait ended as far as it knows.
  [[nodiscard]] wake_reason end(wake_reason how) noexcept;

 private:
  agent& who_;
  const std::uint64_t word_;
  const deadline until_;
  const deadline inherited_;
};
static_assert(std::is_trivially_destructible_v<time_limit>);
static_assert(sizeof(time_limit) == room_of_time_limit && alignof(time_limit) <= alignof(std::uint64_t));
/// Whether a fiber's wait has one. A deadline inherited from a task that may be gone is kept by the wait itself.
[[gnu::always_inline]] inline bool has_deadline(const agent& a, deadline until) noexcept {
  return !until.is_never() || (a.task && !a.task->own.until().is_never());
}

class fiber_wait {
 public:
  /// After check_can_park().
  [[gnu::always_inline]] fiber_wait(agent& who, wait_kind kind, const void* target, std::uint64_t target_task) noexcept
      : agent_(who), word_(announce(who, kind, target, target_task)) {}
  [[gnu::always_inline]] ~fiber_wait() { agent_.take_back(word_); }
  fiber_wait(const fiber_wait&) = delete;
  fiber_wait& operator=(const fiber_wait&) = delete;

  [[nodiscard]] waker handle() const noexcept { return handle(agent_, word_); }
  [[nodiscard]] static waker handle(agent& a, std::uint64_t word) noexcept { return waker(&a, word); }

  /// Woken or cancelled.
  [[gnu::always_inline]] wake_reason park() noexcept {
    is_about_to_park(agent_);
    agent_.home->suspend_in_line(static_cast<fiber_agent&>(agent_));
    return agent_.came_back();
  }

  /// For one without a fiber_wait, that parked and has been resumed: ends it, and says how it ended.
  static wake_reason end(const waker& w) noexcept { return w.end(); }
  static wake_reason end(const waker& w, time_limit& limit) noexcept {
    const wake_reason how = limit.end(w.who_->came_back());
    w.who_->take_back(w.word_);
    return how;
  }

  // The other side: waker::claim_alone() and resume(), in line for a fiber of the calling loop.
  /// False for others, too.
  [[nodiscard, gnu::always_inline]] static bool claim_near(const waker& w) noexcept {
    return !rarely(!is_near(*w.who_)) && !rarely(!decide_plainly(*w.who_, w.word_));
  }
  static void resume(const waker& w) noexcept {
    if (is_near(*w.who_))
      resume_near(w);
    else
      w.resume();
  }
  /// After claim_near().
  [[gnu::always_inline]] static void resume_near(const waker& w) noexcept { tl_loop->ready(w.who_); }

 private:
  static bool is_near(const agent& a) noexcept {
    return !rarely(a.home != tl_loop) && !rarely(a.what != agent::kind::fiber);
  }

  agent& agent_;
  const std::uint64_t word_;
};

/// A fiber that may be cancelled is about to park: true when it has been, and its wait is over.
bool may_not_park(agent& a, std::uint64_t word) noexcept;
wake_reason park_off_loops(agent& a, std::uint64_t word, deadline until, bool deaf);

/// waiter::suspend() and suspend_shielded(): parks the agent, whose wait was announced. In line, and with one place to
/// switch at, so that a wait with a time limit is as many calls below its caller as one without: the core expects the
/// fiber that goes on to return as the one that was left would have (see departure.hpp).
[[gnu::always_inline]] inline wake_reason park(agent& a, std::uint64_t word, deadline until, bool deaf) {
  if (a.what != agent::kind::fiber) [[unlikely]]
    return park_off_loops(a, word, until, deaf);
  if (!deaf && a.hint.load(std::memory_order_relaxed) && may_not_park(a, word)) [[unlikely]]
    return wake_reason::cancelled;
  is_about_to_park(a, deaf);
  const bool timed = deaf ? !until.is_never() : has_deadline(a, until);
  alignas(time_limit) std::byte room[sizeof(time_limit)];
  time_limit* const limit =
      timed ? ::new (static_cast<void*>(room)) time_limit(fiber_wait::handle(a, word), until, deaf) : nullptr;
  if (!limit || limit->begin()) a.home->suspend_in_line(static_cast<fiber_agent&>(a));
  const wake_reason how = a.came_back();
  return limit ? limit->end(how) : how;
}

}  // namespace weft::detail
