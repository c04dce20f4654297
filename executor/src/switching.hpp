#pragma once
// Leaving a fiber for whoever is ready next, in line: who waits most (a channel's receiver, a task's owner) pays for no
// call, and saves no register twice.

#include "fiber_agent.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"
#include "weft/rarely.hpp"

namespace weft::detail {

/// Whom it is to resume.
inline fiber_agent& fiber_of(runnable* r) noexcept { return static_cast<fiber_agent&>(static_cast<agent&>(*r)); }

// Where many connections take turns, hardly anything of the fiber that is next is in the core's caches, and of its
// stack each frame would be waited for on the way to the one above. So they are asked for a turn before. (Others than
// those of IO take turns faster than that would help.)
[[gnu::always_inline]] inline void loop_core::fetch(const runnable& r) noexcept {
  if (r.how != runnable::kind::resume) return;
  const auto& to = static_cast<const fiber_agent&>(static_cast<const agent&>(r));
  const wait_kind left_for = to.waits_for.load(std::memory_order_relaxed);
  if (left_for != wait_kind::readable && left_for != wait_kind::writable) return;
  __builtin_prefetch(r.next, 1);
  if (to.task) __builtin_prefetch(&to.task->own);  // has_deadline()

  constexpr int frames = 10;  // cache lines of what waits in io::stream, and of the stream
  const auto* const at = static_cast<const char*>(to.stack_pointer());
  for (int line = 0; line < frames; ++line) __builtin_prefetch(at + 64 * line, 1);
}

// The loop must look at the world first, or at its mail: loads that stay in the cache until there is some.
[[gnu::always_inline]] inline bool loop_core::must_look(unsigned left) const noexcept {
  // In a simulation the budget is always used up: every choice is the simulation's.
  return left == 0 || due.load(std::memory_order_relaxed) || inbox_.has_mail();
}

[[gnu::always_inline]] inline runnable* loop_core::next() noexcept {
  const unsigned left = budget.load(std::memory_order_relaxed);
  if (must_look(left)) return nullptr;
  budget.store(left - 1, std::memory_order_relaxed);
  if (runnable* r = ready_.pop()) {
    if (const runnable* then = ready_.front()) fetch(*then);
    return r;
  }
  return next_spare();
}

[[gnu::always_inline]] inline runnable* loop_core::next_spare() noexcept {
  if (spare_.empty()) return ring_.pop();
  // Somebody has fallen asleep since the last look.
  if (runtime_.idle.load(std::memory_order_relaxed) != 0 && runtime_.loops() > 1) [[unlikely]]
    share();
  runnable* const r = spare_.pop();
  return r ? r : ring_.pop();
}

// Null when there is none to be had; then the task has been told.
[[gnu::always_inline]] inline fiber_agent* loop_core::stack_for(runnable* r) noexcept {
  if (r->stack_size == 0)
    if (fiber_agent* f = default_fibers_->take_warm()) return f;
  return find_stack_for(r);
}

// In line: see departure.hpp.
[[gnu::always_inline]] inline void loop_core::switch_to(fiber& from, fiber_agent& to) noexcept {
  becomes(&to);
  fiber::switch_to<false>(from, to, globals_);
}

[[gnu::always_inline]] inline void loop_core::switch_to_loop(fiber& from) noexcept {
  becomes(nullptr);
  fiber::switch_to<false>(from, native_, globals_);
}

// Null: nobody but the caller, who was woken before it left.
[[gnu::always_inline]] inline fiber* loop_core::next_fiber(const fiber_agent& me) noexcept {
  for (;;) {
    runnable* const r = next();
    if (!r) {
      becomes(nullptr);
      return &native_;
    }
    if (r->how == runnable::kind::resume) [[likely]] {
      fiber_agent& f = fiber_of(r);
      if (rarely(&f == &me)) return nullptr;
      becomes(&f);
      return &f;
    }
    if (fiber_agent* const f = stack_for(r)) {
      f->assigned = r;
      becomes(f);
      return f;
    }
    // That task could not start; try the next.
  }
}

[[gnu::always_inline]] inline void loop_core::suspend_in_line(fiber_agent& me) noexcept {
  if (fiber* const to = next_fiber(me)) fiber::switch_to<false>(me, *to, globals_);
}

// `back` is what there is to do where the caller's caller makes no jump. (The pair is made in one place only, or GCC 12
// brings it together in memory, on the way to the jump.)
template <class Back>
[[gnu::always_inline]] inline departure loop_core::depart(fiber_agent& me, Back back) {
  fiber* const to = next_fiber(me);
#if WEFT_JUMPS_IN_LINE && !defined(WEFT_ASAN) && !defined(WEFT_TSAN)
  if (to) [[likely]]
    return fiber::depart(me, *to, globals_);
#else
  if (to) fiber::switch_to<false>(me, *to, globals_);
#endif
  return back();
}

template <class Slowly>
[[gnu::always_inline]] inline departure loop_core::depart_at_once([[maybe_unused]] fiber_agent& me, Slowly slowly) {
#if WEFT_JUMPS_IN_LINE && !defined(WEFT_ASAN) && !defined(WEFT_TSAN)
  const unsigned left = budget.load(std::memory_order_relaxed);
  runnable* const r = must_look(left) ? nullptr : ready_.front();
  if (!r || r->how != runnable::kind::resume || r == &me) [[unlikely]]
    return slowly();
  ready_.pop(r);
  budget.store(left - 1, std::memory_order_relaxed);
  if (r->next) fetch(*r->next);
  fiber_agent& next = fiber_of(r);
  becomes(&next);
  return fiber::depart(me, next, globals_);
#else
  return slowly();
#endif
}

}  // namespace weft::detail
