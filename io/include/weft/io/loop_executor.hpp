#pragma once
// weft's loops as executors of Asio: what they execute is a task, a fiber that may wait.
//
//   asio::co_spawn(weft::io::this_loop_executor(), session(), asio::detached);   // its parts run as fibers
//   socket.async_wait(..., asio::bind_executor(weft::io::anywhere_executor(), f));  // f may use any core, and wait
//
// An object of Asio for a loop's own use is made with weft::this_io_context(). It belongs to that loop: the io_context
// takes no locks around IO, so only its own thread may call the object's functions. What another thread wants of it
// goes there by asio::post(executor, f), with this executor or the io_context's own.
//
// This header includes Asio, so weft/io.hpp leaves it out.

#include <asio/execution/blocking.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution/execute.hpp>
#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>
#include <asio/require.hpp>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

#include "weft/loop.hpp"
#include "weft/spawn.hpp"

namespace weft::io {

namespace detail {

struct context_life;

/// A loop's io_context, whether or not that is there still. Any thread, but for here().
class loop_context {
 public:
  /// Of the calling loop. Throws no_runtime off a loop, std::logic_error in a simulation.
  static loop_context here();

  [[nodiscard]] bool is_here() const noexcept;
  /// Calls f(argument) on the loop's thread: at once when that is the caller's; where the caller is, when the loop is
  /// gone. Never twice, and never not at all. A program out of memory ends here.
  void call(void (*f)(void*) noexcept, void* argument) const noexcept;
  /// Has the loop run f on its own stack. Throws no_runtime when the loop is gone. If it goes before it comes to that,
  /// f is destroyed.
  template <class F>
  void post(F&& f) const {
    const auto [lock, context] = use();
    // Not asio::post(), which would ask f for its executor, and so come back here.
    asio::execution::execute(asio::require(context->get_executor(), asio::execution::blocking.never),
                             std::forward<F>(f));
  }
  /// Throws no_runtime when the loop is gone.
  [[nodiscard]] asio::io_context& get() const { return *use().context; }

  friend bool operator==(const loop_context&, const loop_context&) noexcept = default;

 private:
  struct held {
    std::unique_lock<std::mutex> lock;  // the loop cannot go while it is held
    asio::io_context* context;
  };
  explicit loop_context(std::shared_ptr<context_life> life) noexcept : life_(std::move(life)) {}
  [[nodiscard]] held use() const;

  std::shared_ptr<context_life> life_;
};

/// A function of any kind as one that gives nothing, for its result nobody asks.
template <class F>
auto as_task(F&& f) {
  return [f = std::decay_t<F>(std::forward<F>(f))]() mutable { static_cast<void>(std::move(f)()); };
}

}  // namespace detail

/// Runs what it is given as tasks of one loop, under no scope of whoever gives them. Objects of Asio that are made with
/// it have that loop's io_context.
class loop_executor {
 public:
  /// Spawns f on the loop. An error that leaves it goes to config.on_unhandled.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any. From the loop itself, tasks start in the order they were given.
  /// Ordering: what the caller wrote is visible to f.
  /// Throws:   no_runtime when the loop is gone; std::bad_alloc.
  template <class F>
  void execute(F&& f) const {
    if (home_.is_here()) {
      static_cast<void>(spawn(detached, detail::as_task(std::forward<F>(f))));
    } else {
      home_.post([task = detail::as_task(std::forward<F>(f))]() mutable {
        static_cast<void>(spawn(detached, std::move(task)));
      });
    }
  }

  [[nodiscard]] asio::io_context& query(asio::execution::context_t) const { return home_.get(); }
  static constexpr asio::execution::blocking_t::never_t query(asio::execution::blocking_t) noexcept { return {}; }
  friend bool operator==(const loop_executor&, const loop_executor&) noexcept = default;

 private:
  friend loop_executor this_loop_executor();
  explicit loop_executor(detail::loop_context home) noexcept : home_(std::move(home)) {}
  detail::loop_context home_;
};

/// Of the calling loop. Throws no_runtime off a loop, std::logic_error in a simulation.
loop_executor this_loop_executor();

/// Runs what it is given as tasks of any loop, under no scope of whoever gives them.
class anywhere_executor {
 public:
  /// Spawns f `anywhere`. An error that leaves it goes to config.on_unhandled.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any, while a runtime runs.
  /// Ordering: what the caller wrote is visible to f.
  /// Throws:   no_runtime; std::bad_alloc.
  template <class F>
  void execute(F&& f) const {
    constexpr weft::detail::place apart{weft::detail::place::how::detached_anywhere};
    static_cast<void>(spawn(apart, detail::as_task(std::forward<F>(f))));
  }

  /// One that does nothing: it holds the services of strands.
  static asio::execution_context& query(asio::execution::context_t);
  static constexpr asio::execution::blocking_t::never_t query(asio::execution::blocking_t) noexcept { return {}; }
  friend bool operator==(const anywhere_executor&, const anywhere_executor&) noexcept = default;
};

}  // namespace weft::io
