#pragma once
// Cancellation: scopes, deadlines, shields.
//
// Level-triggered, after Trio: every wait inside a cancelled scope throws `cancelled` until the scope is left. A scope
// absorbs only its own `cancelled`. During unwinding a wait ignores scopes that were entered before the exception.

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "weft/deadline.hpp"
#include "weft/error.hpp"
#include "weft/timer.hpp"
#include "weft/waiter.hpp"

namespace weft {

namespace detail {

class task_core;
class runtime_core;
class scope_control;
struct place;
bool start_from_off_loops(task_core&, place);
void start_in_group(task_core&, place);
void start_off_loop(task_core&, void (*)(task_core&));

/// One level of the cancellation tree: a task's own scope (in its record), or a block (on its frame).
///
/// Who may touch what: a fiber's scopes, and the lists of their children, belong to the fiber's loop; cancellation from
/// elsewhere comes through that loop's inbox. A CPU task's and a thread's scopes belong to the agent, apart from
/// what was asked and by whom, which any thread may set, once.
class scope {
 public:
  constexpr scope() noexcept = default;
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

  /// Makes it the innermost scope of the calling agent. Throws wait_in_algorithm in the body of an algorithm.
  void enter(agent& who, deadline until, bool shield);
  /// Makes it the outermost scope of a bound body, which stands for the scopes of a control.
  void mirror(agent& who, deadline until, scope_control* control) noexcept;
  /// Leaves it, even if scopes that were entered since are still there; children that are still running pass to the
  /// scope around it.
  void leave() noexcept;

  [[nodiscard]] bool requested() const noexcept { return asked_.load(std::memory_order_acquire) != 0; }
  /// Of a scope that was.
  [[nodiscard]] cancel_reason reason() const noexcept {
    return static_cast<cancel_reason>(asked_.load(std::memory_order_relaxed) - 1);
  }
  [[nodiscard]] std::uint64_t by() const noexcept { return by_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] scope* outer() const noexcept { return outer_; }
  [[nodiscard]] bool is_shield() const noexcept { return kind_ == kind::shield; }
  [[nodiscard]] unsigned uncaught() const noexcept { return uncaught_; }
  [[nodiscard]] deadline until() const noexcept { return until_; }
  [[nodiscard]] agent* owner() const noexcept { return owner_; }
  /// How many scopes of its owner are around it.
  [[nodiscard]] std::uint16_t depth() const noexcept { return depth_; }
  /// What others hold of it: a cancel_scope, tokens, bound bodies. Null when nobody asked for it.
  [[nodiscard]] scope_control* control() const noexcept { return control_.load(std::memory_order_relaxed); }
  /// Where nobody tells it, or not yet: marks it when its deadline has passed or its control was asked.
  void look() noexcept;

  /// Marks it. True the first time.
  bool mark(cancel_reason reason, std::uint64_t by) noexcept;
  /// On the owner's loop, or as the owner: marks it, wakes the owner where that takes effect, passes it on to children.
  void cancel_here(cancel_reason reason, std::uint64_t by) noexcept;
  /// The second half of cancel_here(), for a scope that is marked already.
  void pass_on_cancel(cancel_reason reason, std::uint64_t by) noexcept;
  /// As the owner, a fiber: look(), and all that cancel_here() does.
  void catch_up() noexcept;

  task_core* children = nullptr;
  std::uint16_t thrown = 0;  ///< how often a wait in it has thrown; 1000 for more

 private:
  friend class task_core;
  friend class runtime_core;
  friend class scope_control;
  friend bool start_from_off_loops(task_core&, place);
  friend void start_in_group(task_core&, place);
  friend void start_off_loop(task_core&, void (*)(task_core&));

  enum class kind : std::uint8_t {
    plain,
    shield,
    mirror  // a bound body's: stands for the scopes of its control
  };

  std::uint16_t uncaught_ = 0;
  std::uint16_t depth_ = 0;
  kind kind_ = kind::plain;
  std::atomic<std::uint8_t> asked_{0};  // 0, or 1 + the reason of the first request
  std::uint64_t id_ = 0;
  scope* outer_ = nullptr;
  agent* owner_ = nullptr;
  deadline until_;
  std::atomic<std::uint64_t> by_{0};
  std::atomic<scope_control*> control_{nullptr};  // the owner's to set; looked at when the scope is marked or left
};

/// A block of code under a deadline.
class timed_scope {
 public:
  explicit timed_scope(deadline until);
  ~timed_scope();
  [[nodiscard]] bool owns(const cancelled& c) const noexcept { return c.scope() == scope_.id(); }

 private:
  static void expired(timer& t) noexcept;
  struct alarm : timer {
    scope* what = nullptr;
  } alarm_;
  scope scope_;
  loop_core* armed_on_ = nullptr;
};

class shield_scope {
 public:
  shield_scope();
  ~shield_scope();

 private:
  scope scope_;
};

}  // namespace detail

/// Throws cancelled when a scope around the caller was cancelled. For long computations between waits.
///
/// Suspends: never.
/// Cancel:   throws cancelled.
/// Threads:  any agent; on a thread outside weft it does nothing.
/// Ordering: none.
/// Throws:   cancelled.
void check_cancelled();

/// True when check_cancelled() would throw. Never throws.
bool cancel_requested() noexcept;

/// Runs f in the caller, deaf to cancellation of the scopes around it (scopes entered inside still work).
///
/// Suspends: as f does.
/// Cancel:   none reaches f from outside; it is seen at the next wait after shield().
/// Threads:  any agent.
/// Ordering: f runs in the caller.
/// Throws:   what f throws.
template <class F>
decltype(auto) shield(F&& f) {
  const detail::shield_scope guard;
  return std::forward<F>(f)();
}

/// The earliest deadline of the scopes around the caller.
deadline current_deadline() noexcept;

}  // namespace weft
