#pragma once
// spawn, spawn_cpu, spawn_blocking: work that starts at once and gives a future.

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "weft/blocking_pool.hpp"
#include "weft/cpu_pool.hpp"
#include "weft/future.hpp"
#include "weft/task.hpp"

namespace weft {

/// May start on any loop: idle loops take such tasks from busy ones. Once started it stays where it is. A loop starts
/// the newest of its own first, and gives away the oldest; the oldest gets its turn in the end, however many newer ones
/// come.
inline constexpr detail::place anywhere{detail::place::how::anywhere};
/// On the caller's loop, but under no scope of the caller: no deadline, no parent's cancellation.
inline constexpr detail::place detached{detail::place::how::detached};
/// On that loop. Throws std::out_of_range from spawn when there is no such loop.
constexpr detail::place on_loop(unsigned index) noexcept { return {detail::place::how::on_loop, index}; }
/// For spawn_blocking: a call that nobody waits for once it was cancelled.
inline constexpr detail::abandon abandonable{};

namespace detail {

/// A task and its result in one allocation.
template <class F, class T, class Core>
class spawned_as final : public future_state<T>, public Core {
 public:
  template <class G>
  spawned_as(task_core::flavour what, const task_options& options, std::source_location site, G&& f)
      : future_state<T>(1 + future_core::one_hold), Core(what, options, site), body_(std::forward<G>(f)) {}

 private:
  ~spawned_as() override {}
  void execute() override {
    struct end {
      F& body;
      ~end() { body.~F(); }
    } const end{body_};
    emplace_result(*static_cast<future_state<T>*>(this), [this]() -> T { return std::invoke(std::move(body_)); });
  }
  void discard() noexcept override { body_.~F(); }
  void complete() noexcept override {
    if constexpr (std::is_same_v<Core, task_core>)
      this->publish();
    else
      this->publish_off_loops();
  }
  void complete_with(std::exception_ptr error, bool was_cancelled) noexcept override {
    this->drop_value();
    this->set_error(std::move(error), was_cancelled);
    complete();
  }
  future_core& state() noexcept override { return *this; }
  void hold() noexcept override { this->add_hold(); }
  void release() noexcept override { this->drop_hold(); }
  void request_cancel(cancel_reason reason, std::uint64_t by) noexcept override {
    task_core::request_cancel(reason, by);
  }
  [[nodiscard]] task_info producer() const override { return this->info(); }
  [[nodiscard]] std::uint64_t producer_id() const noexcept override { return this->id(); }
  void destroy() noexcept override { delete this; }

  union {
    F body_;
  };
};
template <class F, class T>
using spawned = spawned_as<F, T, task_core>;
template <class F, class T>
using spawned_cpu = spawned_as<F, T, cpu_task>;
template <class F, class T>
using spawned_blocking = spawned_as<F, T, blocking_task>;

/// A task whose future does not wait for its call, once cancelled. So what the call gives is kept apart until it is
/// known whether anybody wants it.
template <class F, class T>
class abandonable_call final : public future_state<T>, public task_core {
 public:
  template <class G>
  abandonable_call(flavour what, const task_options& options, std::source_location site, G&& f)
      : future_state<T>(1 + 2 * future_core::one_hold), task_core(what, options, site), body_(std::forward<G>(f)) {
    note_extras();
  }

 private:
  ~abandonable_call() override {}
  void execute() override {
    struct end {
      F& body;
      ~end() { body.~F(); }
    } const end{body_};
    if constexpr (std::is_void_v<T>)
      std::invoke(std::move(body_)), given_.emplace();
    else if constexpr (std::is_reference_v<T>)
      given_.emplace(std::addressof(std::invoke(std::move(body_))));
    else
      given_.emplace(std::invoke(std::move(body_)));
    if (abandoned()) given_.reset();
  }
  void discard() noexcept override { body_.~F(); }
  void complete() noexcept override {
    try {
      if constexpr (std::is_reference_v<T>)
        this->emplace(**given_);
      else
        this->emplace(std::move(*given_));
    } catch (...) {
      this->set_error(std::current_exception(), false);
    }
    given_.reset();
    this->publish();
  }
  void complete_with(std::exception_ptr error, bool was_cancelled) noexcept override {
    this->set_error(std::move(error), was_cancelled);
    this->publish();
  }
  future_core& state() noexcept override { return *this; }
  void hold() noexcept override { this->add_hold(); }
  void release() noexcept override { this->drop_hold(); }
  void request_cancel(cancel_reason reason, std::uint64_t by) noexcept override {
    task_core::request_cancel(reason, by);
  }
  [[nodiscard]] task_info producer() const override { return info(); }
  [[nodiscard]] std::uint64_t producer_id() const noexcept override { return id(); }
  void destroy() noexcept override { delete this; }

  union {
    F body_;
  };
  std::optional<typename future_state<T>::stored> given_;
};

/// The function to run: a lazy gives up the one it holds, anything else is itself.
template <class F>
decltype(auto) body_of(F&& f) {
  if constexpr (requires { std::forward<F>(f).take_body(); })
    return std::forward<F>(f).take_body();
  else
    return std::forward<F>(f);
}

template <class F>
using body_t = std::decay_t<decltype(body_of(std::declval<F>()))>;
template <class F>
using spawned_result_t = std::invoke_result_t<body_t<F>>;

template <class F>
concept spawnable = std::invocable<body_t<F>>;

template <template <class, class> class Task = spawned, class F, class Start>
future<spawned_result_t<F>> spawn_as(task_core::flavour what, const task_options& options, F&& f,
                                     std::source_location site, Start start) {
  using T = spawned_result_t<F>;
  auto* task = new Task<body_t<F>, T>(what, options, site, body_of(std::forward<F>(f)));
  future<T> handle = future_access::adopt<T>(task);
  struct undo {  // start() threw: the record never ran
    Task<body_t<F>, T>* task;
    ~undo() {
      if (task) static_cast<task_core*>(task)->never_started();
    }
  } guard{task};
  if constexpr (std::is_void_v<decltype(start(*task))>)
    start(*task);
  else if (start(*task))
    task->produced_here();
  guard.task = nullptr;
  return handle;
}

template <class F, class Start>
future<spawned_result_t<F>> spawn_cpu_as(const cpu_options& options, F&& f, std::source_location site, Start start) {
  return spawn_as<spawned_cpu>(task_core::flavour::cpu, {.name = options.name}, std::forward<F>(f), site,
                               [&](task_core& task) {
                                 auto& entry = static_cast<cpu_task&>(task);
                                 entry.rank = options.priority;
                                 entry.start_by = options.start_by;
                                 start(task);
                               });
}

}  // namespace detail

/// Starts f as a fiber on the caller's loop, where it stays for life; from a CPU task or a blocking call, on the loop
/// that spawned that; from a thread outside weft, anywhere. f is copied or moved and gone before the result is seen.
///
/// Suspends: never; f runs when the caller waits or ends.
/// Cancel:   not a cancellation point. The task belongs to the caller's innermost scope and is cancelled with it.
/// Threads:  any, while a runtime runs.
/// Ordering: what the caller wrote is visible to f. Tasks of one loop start in the order they were spawned.
/// Throws:   no_runtime; std::bad_alloc. What f throws comes out of the future.
template <detail::spawnable F>
[[nodiscard]] auto spawn(F&& f, std::source_location site = std::source_location::current()) {
  return detail::spawn_as(detail::task_core::flavour::fiber, {}, std::forward<F>(f), site,
                          [](detail::task_core& task) { return detail::start_task(task); });
}
/// spawn with a place: `anywhere`, `on_loop(i)`, `detached`. Throws std::out_of_range when there is no such loop.
template <detail::spawnable F>
[[nodiscard]] auto spawn(detail::place where, F&& f, std::source_location site = std::source_location::current()) {
  return detail::spawn_as(detail::task_core::flavour::fiber, {}, std::forward<F>(f), site,
                          [where](detail::task_core& task) { return detail::start_task(task, where); });
}
/// spawn with a name or a stack size. Throws std::invalid_argument when the stack is too small.
template <detail::spawnable F>
[[nodiscard]] auto spawn(const task_options& options, F&& f,
                         std::source_location site = std::source_location::current()) {
  return detail::spawn_as(detail::task_core::flavour::fiber, options, std::forward<F>(f), site,
                          [](detail::task_core& task) { return detail::start_task(task); });
}
/// spawn with both.
template <detail::spawnable F>
[[nodiscard]] auto spawn(detail::place where, const task_options& options, F&& f,
                         std::source_location site = std::source_location::current()) {
  return detail::spawn_as(detail::task_core::flavour::fiber, options, std::forward<F>(f), site,
                          [where](detail::task_core& task) { return detail::start_task(task, where); });
}

/// Starts f on the CPU pool (oneTBB). oneTBB's algorithms work inside it, and it may wait for anything; at a wait it
/// may go on on another thread, so keep no thread-local address and no std::mutex over one.
///
/// Suspends: never.
/// Cancel:   not a cancellation point. f sees a request at its waits and in check_cancelled().
/// Threads:  any, while a runtime runs.
/// Ordering: what the caller wrote is visible to f.
/// Throws:   no_runtime; std::bad_alloc. Out of the future comes what f throws; `overloaded` when config.cpu_queue
///           tasks wait already, or they wait too long (config.cpu_target); timed_out when options.start_by has passed
///           before a worker was free. Then f was not started.
template <detail::spawnable F>
[[nodiscard]] auto spawn_cpu(F&& f, std::source_location site = std::source_location::current()) {
  return detail::spawn_cpu_as({}, std::forward<F>(f), site, detail::start_cpu_task);
}
/// spawn_cpu with a name, a priority, a time to be started by.
template <detail::spawnable F>
[[nodiscard]] auto spawn_cpu(const cpu_options& options, F&& f,
                             std::source_location site = std::source_location::current()) {
  return detail::spawn_cpu_as(options, std::forward<F>(f), site, detail::start_cpu_task);
}

/// Starts f on a thread that may block, for calls that know nothing of fibers.
///
/// Suspends: never.
/// Cancel:   not a cancellation point. A call that has started cannot be stopped; one that has not never starts.
/// Threads:  any, while a runtime runs.
/// Ordering: what the caller wrote is visible to f. Calls start in the order they were spawned.
/// Throws:   no_runtime; std::bad_alloc; std::system_error when there is no thread to be had. What f throws comes
///           out of the future.
template <detail::spawnable F>
[[nodiscard]] auto spawn_blocking(F&& f, std::source_location site = std::source_location::current()) {
  return detail::spawn_as<detail::spawned_blocking>(detail::task_core::flavour::blocking, {}, std::forward<F>(f), site,
                                                    detail::start_blocking_task);
}
template <detail::spawnable F>
[[nodiscard]] auto spawn_blocking(const task_options& options, F&& f,
                                  std::source_location site = std::source_location::current()) {
  return detail::spawn_as<detail::spawned_blocking>(detail::task_core::flavour::blocking, options, std::forward<F>(f),
                                                    site, detail::start_blocking_task);
}

/// spawn_blocking for a call that may hang. Cancelled, its future is cancelled at once, and the thread goes on alone: f
/// owns what it uses, its result and its errors are dropped, and in it waits throw cancelled and spawn throws
/// no_runtime. The thread counts for config.blocking_threads until f ends. The runtime ends without it after
/// config.abandon_grace; then f may go on while statics are destroyed. Capture nothing by reference.
///
/// Suspends: never.
/// Cancel:   not a cancellation point. A call that has not started never starts.
/// Threads:  any, while a runtime runs.
/// Ordering: what the caller wrote is visible to f. Calls start in the order they were spawned.
/// Throws:   no_runtime; std::bad_alloc; std::system_error when there is no thread to be had. What f throws comes
///           out of the future, unless it was cancelled before.
template <detail::spawnable F>
[[nodiscard]] auto spawn_blocking(detail::abandon, F&& f, std::source_location site = std::source_location::current()) {
  return detail::spawn_as<detail::abandonable_call>(detail::task_core::flavour::abandonable, {}, std::forward<F>(f),
                                                    site, detail::start_blocking_task);
}
template <detail::spawnable F>
[[nodiscard]] auto spawn_blocking(detail::abandon, const task_options& options, F&& f,
                                  std::source_location site = std::source_location::current()) {
  return detail::spawn_as<detail::abandonable_call>(detail::task_core::flavour::abandonable, options,
                                                    std::forward<F>(f), site, detail::start_blocking_task);
}

}  // namespace weft
