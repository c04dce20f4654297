#pragma once
// Starting and ending weft.

#include <functional>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>

#include "weft/config.hpp"
#include "weft/future.hpp"
#include "weft/spawn.hpp"

namespace weft {

namespace detail {
class runtime_core;
}

/// Event loops and pools, for programs that own their main thread. One at a time in a process.
///
/// The thread that calls run() is loop 0 while run() lasts; the other loops and the pools run all the time.
class runtime {
 public:
  /// Starts the loops and pools. Throws std::invalid_argument for a config that cannot be, saying which field;
  /// std::logic_error when a runtime exists already; std::system_error when a thread cannot be had.
  explicit runtime(config c = {});
  /// close().
  ~runtime();
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// Runs main as a task on the calling thread, which is loop 0 until main ends. Other tasks may still run then; they
  /// go on, those of loop 0 in the next run() or in close().
  ///
  /// Suspends: the calling thread works as a loop.
  /// Cancel:   rethrows a `cancelled` that leaves main.
  /// Threads:  a plain thread, one at a time; std::logic_error on a loop, or after close().
  /// Ordering: what main wrote is visible.
  /// Throws:   what main throws.
  template <std::invocable F>
  std::invoke_result_t<std::decay_t<F>> run(F&& main, std::source_location site = std::source_location::current()) {
    auto result = detail::spawn_as(detail::task_core::flavour::fiber, {.name = "main"}, std::forward<F>(main), site,
                                   [this](detail::task_core& task) { start_main(task); });
    drive_until(*detail::future_access::state(result));
    return std::move(result).get();
  }

  /// Cancels what still runs, with reason shutdown, and waits for it; then the loops and pools end. Blocking calls that
  /// have started are waited for. Errors of those tasks go to config.on_unhandled. May be called again.
  void close() noexcept;

 private:
  void start_main(detail::task_core& task);
  void drive_until(detail::future_core& result);

  std::unique_ptr<detail::runtime_core> core_;
};

/// Runs main as the first task, then cancels what is left, waits for it, and gives main's result.
///
/// Suspends: the calling thread works as loop 0.
/// Cancel:   rethrows a `cancelled` that leaves main.
/// Threads:  a plain thread; std::logic_error inside another run().
/// Ordering: what main and its tasks wrote is visible.
/// Throws:   what main throws; as the constructor of runtime.
template <std::invocable F>
std::invoke_result_t<std::decay_t<F>> run(F&& main, config c = {},
                                          std::source_location site = std::source_location::current()) {
  runtime weft(std::move(c));
  return weft.run(std::forward<F>(main), site);
}

}  // namespace weft
