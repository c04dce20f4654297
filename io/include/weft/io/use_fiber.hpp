#pragma once
// weft::use_fiber and weft::use_future: what any asynchronous operation of Asio takes in place of a callback.
//
//   asio::ip::tcp::socket s(weft::this_io_context());
//   s.async_connect(to, weft::use_fiber);                                       // the fiber waits; throws system_error
//   std::size_t n = asio::async_read(s, asio::buffer(some), weft::use_fiber);   // and gives what the operation gives
//   std::error_code e;
//   n = s.async_read_some(asio::buffer(some), weft::use_fiber[e]);              // or has the error in e
//   weft::future<void> later = timer.async_wait(weft::use_future);              // begins, and gives a weft::future
//
// Handlers in between, and the last one, run on the loop of the caller, wherever the object of Asio has its own: a
// fiber is to Asio what one of its coroutines is, with the loop for an executor. An object of another *loop* is an
// error, wrong_loop, wherever that can be seen (redirect_error and the like hide it).
//
// What a cancellation leaves: it asks the operation to end (its cancellation slot gets `terminal`) and waits until it
// has, for until then it may use its buffers. An operation that has come to its end all the same is not lost: what it
// gave is what the wait gives, and the next wait throws cancelled. Otherwise the wait throws cancelled, use_fiber[e]
// too. How much a composed operation had moved, say asio::async_read, as_tuple(use_fiber) tells (in Asio 1.22
// asio::experimental's): it gives operation_aborted instead of throwing, and so does asio::redirect_error. Operations
// that have no slot are waited for.
//
// Close an object of Asio that somebody waits in, do not destroy it: Asio looks at it when it is asked to cancel.
//
// This header includes Asio, so weft/io.hpp leaves it out. It is to be compiled with the definitions that weft was:
// they come with the target weft::executor, and with pkg-config weft.

#include <asio/async_result.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>
#include <asio/query.hpp>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/future.hpp"
#include "weft/io/completion.hpp"
#include "weft/io/loop_executor.hpp"
#include "weft/loop.hpp"
#include "weft/spawn.hpp"
#include "weft/waiter.hpp"

#if !defined(ASIO_STANDALONE) || !defined(ASIO_NO_DEPRECATED) || !defined(ASIO_HAS_STD_ALIGNED_ALLOC)
#error "Asio is not set up as weft was compiled: link weft::weft, or take the flags from pkg-config weft"
#endif

namespace weft {

/// The type of `use_fiber`, and of `use_fiber[e]`.
struct use_fiber_t {
  /// Has an error_code stored in `e` instead of thrown; success clears it. A cancellation is thrown all the same.
  constexpr use_fiber_t operator[](std::error_code& e) const noexcept { return {&e}; }

  std::error_code* error = nullptr;

  /// For an object whose operations are to take use_fiber where no token is given.
  template <class Executor>
  struct executor_with_default : Executor {
    using default_completion_token_type = use_fiber_t;
    template <class Other>
      requires(!std::is_same_v<Other, executor_with_default> && std::is_convertible_v<Other, Executor>)
    executor_with_default(const Other& other) noexcept : Executor(other) {}
  };
  template <class T>
  using as_default_on_t = typename T::template rebind_executor<executor_with_default<typename T::executor_type>>::other;
  template <class T>
  static auto as_default_on(T&& object) {
    return as_default_on_t<std::decay_t<T>>(std::forward<T>(object));
  }
};

/// The type of `use_future`.
struct use_future_t {};

/// The caller waits for the operation, and gets what it gives: nothing, a value, or a tuple of several, without the
/// leading error_code or exception_ptr.
///
/// Suspends: always, unless the operation completes at once.
/// Cancel:   throws cancelled, when the operation has ended; see above.
/// Threads:  any agent; off the loops a fiber begins the operation and waits for the caller. There a result that comes
///           after the cancellation is dropped.
/// Ordering: what was written before the completion is visible.
/// Throws:   system_error or the exception that the operation gives; broken_promise when it was dropped (its io_context
///           was destroyed); wrong_loop; bad_wait in a handler of Asio; no_runtime; std::logic_error in a simulation.
inline constexpr use_fiber_t use_fiber;

/// The operation begins, and its result comes as a weft::future. Its cancel(), as when gather() gives it up, asks the
/// operation to end; the future is ready when it has. What the operation uses must stay until then.
///
/// Suspends: never.
/// Cancel:   not a cancellation point.
/// Threads:  any agent, and handlers of Asio; off the loops a fiber begins the operation.
/// Ordering: what was written before the completion is visible to whoever sees the result.
/// Throws:   wrong_loop; no_runtime; std::logic_error in a simulation; what beginning it throws.
inline constexpr use_future_t use_future;

namespace io::detail {

/// Throws wrong_loop when objects of this context belong to another thread.
void check_context(asio::execution_context& of_operation);

template <class Initiation>
void check_initiation(const Initiation& begin) {
  if constexpr (requires { asio::query(begin.get_executor(), asio::execution::context); })
    check_context(asio::query(begin.get_executor(), asio::execution::context));
}

/// An operation that a fiber waits for, on the fiber's frame.
///
/// Who may touch what: all of it the loop's thread. A handler that is called or dropped elsewhere, by an operation that
/// does not ask for its executor, has the loop told.
class awaited_operation {
 public:
  using executor_type = asio::io_context::executor_type;

  /// Throws what a wait of the caller's would throw.
  awaited_operation();
  awaited_operation(const awaited_operation&) = delete;
  awaited_operation& operator=(const awaited_operation&) = delete;

  [[nodiscard]] executor_type executor() noexcept { return context_.get_executor(); }
  [[nodiscard]] asio::cancellation_slot slot() noexcept { return signal_.slot(); }
  /// Any thread.
  void end() noexcept;
  /// Until it has ended.
  void wait() noexcept;
  /// It was asked to end: throws cancelled.
  void check_asked() const {
    if (asked_) check_cancelled();
  }

 private:
  void note_end() noexcept;

  weft::detail::agent& caller_;
  asio::io_context& context_;
  const std::uint32_t loop_;
  bool ended_ = false;
  bool asked_ = false;
  waker who_;
  asio::cancellation_signal signal_;
};

template <class... Args>
struct fiber_operation : awaited_operation {
  completion<Args...> result;
};

template <class... Args, class Initiation, class... Init>
auto run_in_fiber(std::error_code* to, Initiation&& begin, Init&&... args) -> typename completion<Args...>::value_type {
  fiber_operation<Args...> operation;
  check_initiation(begin);
  try {
    std::forward<Initiation>(begin)(handler<fiber_operation<Args...>>(operation), std::forward<Init>(args)...);
  } catch (...) {
    operation.wait();  // it may have begun, and is to be over when the frame goes
    throw;
  }
  operation.wait();
  if (operation.result.failed()) operation.check_asked();
  return operation.result.take(to);
}

/// An operation that a future stands for.
///
/// Who may touch what:
///   asked_     any thread, once; the loop reads it.
///   the rest   the loop's thread, and the handler's until it calls end(). When the loop is gone, whoever comes: the
///              handler is the only one then.
template <class T, class... Args>
class future_operation final : public weft::detail::future_state<T> {
  using core = weft::detail::future_core;

 public:
  /// Runs what it is given on the loop's own stack, or drops it when the loop is gone.
  class executor_type {
   public:
    explicit executor_type(loop_context home) noexcept : home_(std::move(home)) {}
    template <class F>
    void execute(F&& f) const {
      try {
        home_.post(std::forward<F>(f));
      } catch (const no_runtime&) {
        // A handler that is dropped says so.
      }
    }
    static constexpr asio::execution::blocking_t::never_t query(asio::execution::blocking_t) noexcept { return {}; }
    friend bool operator==(const executor_type&, const executor_type&) noexcept = default;

   private:
    loop_context home_;
  };

  future_operation() : weft::detail::future_state<T>(1 + core::one_hold), home_(loop_context::here()) {
    this->reports_ = false;
  }

  [[nodiscard]] executor_type executor() const noexcept { return executor_type(home_); }
  [[nodiscard]] asio::cancellation_slot slot() noexcept { return signal_.slot(); }
  void end() noexcept { home_.call(&note_end, this); }

  void request_cancel(cancel_reason reason, std::uint64_t by) noexcept override {
    std::uint64_t nobody = 0;
    const std::uint64_t asker = by << 8 | (static_cast<std::uint64_t>(reason) + 1);  // ids are far below 2^56
    if (!asked_.compare_exchange_strong(nobody, asker, std::memory_order_acq_rel)) return;
    this->add_hold();
    home_.call(&ask, this);
  }
  [[nodiscard]] task_info producer() const override { return {}; }

  completion<Args...> result;

 private:
  static void ask(void* self) noexcept {
    auto& me = *static_cast<future_operation*>(self);
    if (me.home_.is_here() && !me.ended_) me.signal_.emit(asio::cancellation_type::terminal);
    me.drop_hold();
  }
  static void note_end(void* self) noexcept {
    auto& me = *static_cast<future_operation*>(self);
    me.ended_ = true;
    try {
      const std::uint64_t asker = me.asked_.load(std::memory_order_acquire);
      if (asker != 0 && me.result.failed()) {
        const auto reason = static_cast<cancel_reason>((asker & 0xff) - 1);
        me.set_error(std::make_exception_ptr(cancelled(reason, 0, asker >> 8)), true);
      } else {
        weft::detail::emplace_result(static_cast<weft::detail::future_state<T>&>(me),
                                     [&]() -> T { return me.result.take(); });
      }
    } catch (...) {
      me.set_error(std::current_exception(), false);
    }
    me.publish();
    me.drop_hold();
  }
  void destroy() noexcept override { delete this; }

  const loop_context home_;
  asio::cancellation_signal signal_;
  std::atomic<std::uint64_t> asked_{0};  // 0, or by whom and why
  bool ended_ = false;
};

template <class... Args, class Initiation, class... Init>
auto run_as_future(Initiation&& begin, Init&&... args) -> future<typename completion<Args...>::value_type> {
  using T = typename completion<Args...>::value_type;
  using operation = future_operation<T, Args...>;
  check_initiation(begin);
  auto* const state = new operation;
  future<T> result = weft::detail::future_access::adopt<T>(state);
  std::forward<Initiation>(begin)(handler<operation>(*state), std::forward<Init>(args)...);
  return result;
}

}  // namespace io::detail
}  // namespace weft

namespace asio {

template <class... Args>
class async_result<weft::use_fiber_t, void(Args...)> {
  using completion = weft::io::detail::completion<Args...>;

 public:
  using return_type = typename completion::value_type;

  template <class Initiation, class... Init>
  static return_type initiate(Initiation&& begin, weft::use_fiber_t token, Init&&... args) {
    const auto run = [&]() -> return_type {
      return weft::io::detail::run_in_fiber<Args...>(token.error, std::forward<Initiation>(begin),
                                                     std::forward<Init>(args)...);
    };
    if (weft::on_a_loop()) return run();
    return weft::spawn({.name = "use_fiber"}, run).get();
  }
};

template <class... Args>
class async_result<weft::use_future_t, void(Args...)> {
  using completion = weft::io::detail::completion<Args...>;

 public:
  using return_type = weft::future<typename completion::value_type>;

  template <class Initiation, class... Init>
  static return_type initiate(Initiation&& begin, weft::use_future_t, Init&&... args) {
    if (weft::on_a_loop())
      return weft::io::detail::run_as_future<Args...>(std::forward<Initiation>(begin), std::forward<Init>(args)...);
    return weft::spawn(
        {.name = "use_future"}, [begin = std::decay_t<Initiation>(std::forward<Initiation>(begin)),
                                 kept = std::tuple<std::decay_t<Init>...>(std::forward<Init>(args)...)]() mutable {
          return std::apply(
              [&](auto&... a) {
                return weft::io::detail::run_in_fiber<Args...>(nullptr, std::move(begin), std::move(a)...);
              },
              kept);
        });
  }
};

}  // namespace asio
