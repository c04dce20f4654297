#pragma once
// Tasks that end before the code that made them goes on.

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/promise.hpp"
#include "weft/spawn.hpp"
#include "weft/wait.hpp"

namespace weft {

namespace detail {

/// A task_group without its templates: a scope of whoever made it, whose children are counted.
///
/// A fiber's children are in the scope's own list, so that what cancels the fiber finds them. A CPU task's or thread's
/// are in the list of that task (of the loop, for a thread outside weft) on the loop that keeps it.
///
/// Who may touch what:
///   pending_     any thread: the children, those on their way to `origin`, a cancellation on its way, and 1 for the
///                owner until it joins. At 0 the group has ended, for good.
///   called_off_  any thread; whoever sets it tells the children.
///   failed_      the loop `origin`; after drained_, the owner.
///   the rest     the owner.
class group_core final : public task_keeper, public message {
 public:
  explicit group_core(std::source_location site);
  ~group_core();
  group_core(const group_core&) = delete;
  group_core& operator=(const group_core&) = delete;

  void start(task_core& task, place where);
  /// For what runs off the loops.
  void start(task_core& task, void (*submit)(task_core&));
  void cancel(cancel_reason reason, std::uint64_t by) noexcept;
  /// `from_body` is what the owner's code threw.
  void join(std::exception_ptr from_body = nullptr);
  /// What a wait of the owner throws when the group was cancelled.
  [[nodiscard]] cancelled cancellation() const noexcept { return {scope_.reason(), scope_.id(), scope_.by()}; }

 private:
  void ended(task_core& child) noexcept override;
  [[nodiscard]] const scope* cancelled_by() const noexcept override;
  void run() noexcept override;

  void admit(task_core& task);
  [[nodiscard]] bool count_one() noexcept;
  void count_down() noexcept;
  void pass_on() noexcept;
  void drop_failed() noexcept;
  [[nodiscard]] bool owned_here() const noexcept;
  [[nodiscard]] bool is_around(std::uint64_t scope_id) const noexcept;
  [[noreturn]] void throw_not_owner() const;

  const std::source_location site_;
  const std::uint64_t owner_task_;
  std::uint32_t token_ = 0;  // of the loop `origin`
  bool joining_ = false;
  bool left_ = false;
  std::atomic<bool> called_off_{false};
  std::atomic<std::size_t> pending_{1};
  scope scope_;
  milestone drained_;
  runnable* failed_ = nullptr;  // records, in the order they ended, each with a hold of ours
  runnable* last_failed_ = nullptr;
};

}  // namespace detail

template <class F>
auto with_group(F&& f, std::source_location site = std::source_location::current());

/// What start() hands to its child: to be called once, with the value for start() to give, when the child is ready.
template <class T = void>
class started {
 public:
  explicit started(promise<T> p) noexcept : promise_(std::move(p)) {}
  started(started&&) noexcept = default;

  /// Throws promise_already_set the second time.
  template <class... Args>
  void operator()(Args&&... args) {
    promise_.set_value(std::forward<Args>(args)...);
    said_ = true;
  }

 private:
  friend class task_group;
  promise<T> promise_;
  bool said_ = false;
};

/// Tasks that belong together (asyncio's TaskGroup, Trio's nursery): the first failure cancels the others, and join()
/// waits for all. What a child refers to of its owner's frame is there as long as it runs, if it was made before the
/// group.
///
/// From its making to its join the group is a scope around its owner's code: when a child fails or cancel() is called,
/// a wait of the owner, too, throws cancelled. join() absorbs that. Code that waits between spawn() and join() is best
/// put into with_group(), which joins however it is left. A group that goes unjoined cancels its children and waits for
/// them, deaf to cancellation; their errors go to config.on_unhandled.
///
/// Made, joined and destroyed by one fiber, task or thread. Children may be spawned by anybody who runs under the
/// group: the owner, and children that still run.
class task_group {
 public:
  /// Throws no_runtime; wait_in_algorithm in the body of a oneTBB algorithm.
  explicit task_group(std::source_location site = std::source_location::current()) : core_(site) {}

  /// spawn() as a child: f belongs to the group, not to the caller's scope. Its future may be dropped; an error comes
  /// out of join() all the same.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point. In a group that was cancelled f never starts.
  /// Threads:  the owner, and children on any loop, CPU worker or thread.
  /// Ordering: as spawn().
  /// Throws:   as spawn(); std::logic_error after join(); std::invalid_argument for `detached`.
  template <detail::spawnable F>
  auto spawn(F&& f, std::source_location site = std::source_location::current()) {
    return spawn(detail::place{}, task_options{}, std::forward<F>(f), site);
  }
  template <detail::spawnable F>
  auto spawn(detail::place where, F&& f, std::source_location site = std::source_location::current()) {
    return spawn(where, task_options{}, std::forward<F>(f), site);
  }
  template <detail::spawnable F>
  auto spawn(const task_options& options, F&& f, std::source_location site = std::source_location::current()) {
    return spawn(detail::place{}, options, std::forward<F>(f), site);
  }
  template <detail::spawnable F>
  auto spawn(detail::place where, const task_options& options, F&& f,
             std::source_location site = std::source_location::current()) {
    return detail::spawn_as(detail::task_core::flavour::fiber, options, std::forward<F>(f), site,
                            [&](detail::task_core& task) { core_.start(task, where); });
  }

  /// spawn_cpu() as a child; otherwise as spawn().
  template <detail::spawnable F>
  auto spawn_cpu(F&& f, std::source_location site = std::source_location::current()) {
    return spawn_cpu(cpu_options{}, std::forward<F>(f), site);
  }
  template <detail::spawnable F>
  auto spawn_cpu(const cpu_options& options, F&& f, std::source_location site = std::source_location::current()) {
    return detail::spawn_cpu_as(options, std::forward<F>(f), site,
                                [&](detail::task_core& task) { core_.start(task, detail::start_cpu_task); });
  }

  /// spawn_blocking() as a child; otherwise as spawn().
  template <detail::spawnable F>
  auto spawn_blocking(F&& f, std::source_location site = std::source_location::current()) {
    return spawn_blocking(task_options{}, std::forward<F>(f), site);
  }
  template <detail::spawnable F>
  auto spawn_blocking(const task_options& options, F&& f, std::source_location site = std::source_location::current()) {
    return detail::spawn_as<detail::spawned_blocking>(
        detail::task_core::flavour::blocking, options, std::forward<F>(f), site,
        [&](detail::task_core& task) { core_.start(task, detail::start_blocking_task); });
  }

  /// Spawns f(ready) as a child, and waits until it calls `ready`, a started<T>&; gives what it was called with.
  /// For a service that must listen before its clients come: `auto port = g.start<int>([](auto& ready) { ... });`
  ///
  /// Suspends: until the child is ready.
  /// Cancel:   throws cancelled; the child is cancelled and has ended.
  /// Threads:  as spawn().
  /// Ordering: what the child wrote before it called `ready` is visible.
  /// Throws:   what f throws before it is ready, which then fails nobody else; std::logic_error when f ends without
  ///           having been ready; as spawn().
  template <class T = void, std::invocable<started<T>&> F>
  T start(F f, std::source_location site = std::source_location::current()) {
    promise<T> p;
    auto value = p.get_future();
    auto child =
        spawn([f = std::move(f), ready = started<T>(std::move(p))]() mutable { run_until_ready(f, ready); }, site);
    try {
      return std::move(value).get();
    } catch (const broken_promise&) {
      child.get();  // it was cancelled before it began
      throw;
    } catch (...) {
      child.cancel();
      shield([&] { child.wait(); });
      throw;
    }
  }

  /// Cancels the children, and the waits of the owner up to join(). No error: join() then returns as always.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: none.
  /// Throws:   nothing.
  void cancel() noexcept { core_.cancel(cancel_reason::user, detail::current_task_id()); }

  /// Waits until all children have ended, and ends the group. A second join() does nothing.
  ///
  /// Suspends: a checkpoint always; switches when a child still runs, else every 128th call.
  /// Cancel:   cancels the children and waits for them, then throws cancelled, if none of them failed.
  /// Threads:  who made the group.
  /// Ordering: what the children wrote is visible.
  /// Throws:   the error of the child that failed, or an exception_group of several in the order they ended; children
  ///           that were cancelled are not in it. bad_wait on another agent than the owner.
  void join() { core_.join(); }

 private:
  template <class F>
  friend auto with_group(F&& f, std::source_location site);

  template <class T, class F>
  static void run_until_ready(F& f, started<T>& ready) {
    try {
      std::invoke(f, ready);
    } catch (const cancelled&) {
      if (!ready.said_) ready.promise_.set_exception(std::current_exception());
      if (ready.said_ || cancel_requested()) throw;
      return;  // somebody else's cancellation is an error as any other
    } catch (...) {
      if (ready.said_) throw;
      ready.promise_.set_exception(std::current_exception());
      return;
    }
    if (!ready.said_)
      ready.promise_.set_exception(
          std::make_exception_ptr(std::logic_error("task_group::start: the child ended without calling `ready`")));
  }

  detail::group_core core_;
};

/// Runs f(group) in the caller and joins the group, however f ends; gives what f gives.
///
/// Suspends: as f does, and until the children have ended.
/// Cancel:   throws cancelled; the children have ended.
/// Threads:  any agent.
/// Ordering: what f and the children wrote is visible.
/// Throws:   what f throws, after the children were cancelled and awaited; as task_group::join(); errors of both as an
///           exception_group, f's first. When cancel() ended f before it gave a result that is not void: cancelled.
template <class F>
auto with_group(F&& f, std::source_location site) {
  using R = std::invoke_result_t<F, task_group&>;
  static_assert(!std::is_reference_v<R>, "with_group: give a value or a pointer, no reference");
  std::optional<value_or_unit<R>> result;
  task_group group(site);
  std::exception_ptr error;
  try {
    if constexpr (std::is_void_v<R>)
      std::invoke(std::forward<F>(f), group);
    else
      result.emplace(std::invoke(std::forward<F>(f), group));
  } catch (...) {
    error = std::current_exception();
  }
  group.core_.join(std::move(error));
  if constexpr (!std::is_void_v<R>) {
    if (!result) throw group.core_.cancellation();
    return *std::move(result);
  }
}

}  // namespace weft
