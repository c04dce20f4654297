#pragma once
// A block of code that others can cancel, after Trio; and std::stop_token, into it and out of it.

#include <functional>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "weft/cancel.hpp"
#include "weft/deadline.hpp"
#include "weft/error.hpp"
#include "weft/result.hpp"

namespace weft {

struct cancel_scope_options {
  deadline until = {};  ///< when it is cancelled by itself, with reason deadline
  bool shield = false;  ///< deaf to the cancellation of the scopes around it; its own works
};

/// Runs one block, and cancels that and no more. A handle: copies refer to the same scope, so that whoever may cancel
/// it late can keep one.
class cancel_scope {
 public:
  explicit cancel_scope(cancel_scope_options options = {});
  cancel_scope(const cancel_scope& other) noexcept;
  cancel_scope& operator=(const cancel_scope& other) noexcept;
  ~cancel_scope();

  /// Runs f in the caller. True, or what f returns, when f came to its end, even if it was cancelled meanwhile; false,
  /// or nothing, when f was unwound by this scope's own cancellation. Once only.
  ///
  /// Suspends: as f does.
  /// Cancel:   cancel() and the deadline reach f and the tasks it spawns, at their next wait. A `cancelled` of another
  ///           scope passes through. One that was cancelled before begins, and its first wait throws.
  /// Threads:  any agent.
  /// Ordering: f runs in the caller.
  /// Throws:   what f throws; std::logic_error the second time; wait_in_algorithm in an algorithm's unbound body.
  template <std::invocable F>
  auto run(F&& f) const;
  /// run(), with cancel_on(stop) first.
  template <std::invocable F>
  auto run(std::stop_token stop, F&& f) const {
    cancel_on(std::move(stop));
    return run(std::forward<F>(f));
  }

  /// Cancels it: before run(), during it, after it (then nothing comes of it), any number of times; the first counts.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point; the caller may be inside the scope, and sees it at its next wait.
  /// Threads:  any, at any time, also when the runtime has ended.
  /// Ordering: none.
  /// Throws:   nothing.
  void cancel(cancel_reason reason = cancel_reason::user) const noexcept;

  /// True once it was cancelled, by cancel(), a token or its deadline (unless that passed after run()).
  [[nodiscard]] bool cancelled() const noexcept;

  /// Cancels it when `stop` is requested; at once if it was. As often as you like; ends with the scope's last handle.
  void cancel_on(std::stop_token stop) const;

  /// Another deadline, earlier or later, or never(). Any thread, also while it runs. Once the scope is cancelled it
  /// changes nothing. On a thread outside weft that waits in the scope just then, it holds from its next wait on.
  void reschedule(deadline until) const noexcept;
  [[nodiscard]] deadline until() const noexcept;

 private:
  detail::scope_control* control_;
};

/// A token that is stopped when any scope around the caller is cancelled, up to a shield: its task's own, a timeout, a
/// cancel_scope. For a fiber, a CPU task, a blocking call (while it computes, too); for libraries that know only
/// std::stop_token. A loop watches the deadlines for it, also while its task computes off the loops; but in an
/// abandonable call and on a thread outside weft a deadline of its own scopes stops it only when that thread waits or
/// asks. Outside any scope it is never stopped.
///
/// A stop callback runs in whoever cancels: a loop, a worker, a thread. It must not wait (on a loop that ends the
/// program) and must not throw.
std::stop_token get_stop_token();

namespace detail {

class entered_scope {
 public:
  explicit entered_scope(scope_control& control);
  ~entered_scope();
  entered_scope(const entered_scope&) = delete;
  entered_scope& operator=(const entered_scope&) = delete;
  [[nodiscard]] bool owns(const cancelled& c) const noexcept { return c.scope() == scope_.id(); }

 private:
  scope scope_;
};

}  // namespace detail

template <std::invocable F>
auto cancel_scope::run(F&& f) const {
  using T = std::remove_cvref_t<std::invoke_result_t<F>>;
  using R = std::conditional_t<std::is_void_v<T>, bool, std::optional<value_or_unit<T>>>;
  const detail::entered_scope inside(*control_);
  try {
    if constexpr (std::is_void_v<T>) {
      std::invoke(std::forward<F>(f));
      return R(true);
    } else {
      return R(std::invoke(std::forward<F>(f)));
    }
  } catch (const weft::cancelled& c) {
    if (!inside.owns(c)) throw;
  }
  return R{};
}

}  // namespace weft
