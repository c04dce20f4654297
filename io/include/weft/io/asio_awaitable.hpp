#pragma once
// Asio's coroutines and weft's fibers, each waiting for the other.
//
//   int n = weft::await(session());               // a fiber, for an asio::awaitable<int>
//   auto page = co_await weft::io::async_get(f);  // an asio::awaitable, for a weft::future
//
// Both need a compiler with which this Asio has coroutines (Asio 1.22 with Clang and libstdc++ has not); async_get()
// with another token works everywhere. This header includes Asio, so weft/io.hpp leaves it out.

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/system_executor.hpp>
#include <atomic>
#include <exception>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include "weft/await.hpp"
#include "weft/future.hpp"
#include "weft/io/use_fiber.hpp"

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/use_awaitable.hpp>
#endif

namespace weft {

#if defined(ASIO_HAS_CO_AWAIT)
namespace detail {

/// await() of one runs it on the loop's io_context: asio::co_spawn with use_fiber. A cancellation reaches the operation
/// that it awaits, and is over when the coroutine is.
template <class T, class Executor>
struct own_way<asio::awaitable<T, Executor>> {
  static T get(asio::awaitable<T, Executor> a) { return asio::co_spawn(this_io_context(), std::move(a), use_fiber); }
};

}  // namespace detail
#endif

namespace io {

namespace detail {

/// A handler of Asio that waits for a future. Lives until the handler has been given the result.
///
/// Who may touch what: whoever takes the node out of the future's list (the producer by firing it, a cancellation by
/// unlinking it) has it alone.
template <class T, class Handler>
class future_wait final : weft::detail::wait_node {
 public:
  future_wait(future<T> what, Handler&& who, const asio::any_io_executor& otherwise)
      : what_(std::move(what)),
        who_(std::move(who)),
        work_(asio::make_work_guard(asio::get_associated_executor(who_, otherwise))) {
    fire = &fired;
  }

  static void begin(std::unique_ptr<future_wait> self) {
    weft::detail::future_core& core = *weft::detail::future_access::state(self->what_);
    auto slot = asio::get_associated_cancellation_slot(self->who_);
    future_wait& me = *self.release();
    if (slot.is_connected()) slot.assign([&me](asio::cancellation_type) { me.cancelled(); });
    if (!core.link(me)) complete(me, false);
  }

 private:
  static void fired(weft::detail::wait_node& n) noexcept { complete(static_cast<future_wait&>(n), false); }

  // Not after the handler was called; so the node is there, and may be on its way out only.
  void cancelled() {
    if (!std::exchange(asked_, true) && weft::detail::future_access::state(what_)->unlink(*this)) complete(*this, true);
  }

  // A program out of memory ends here, if a future fires it.
  static void complete(future_wait& n, bool aborted) {
    const auto executor = n.work_.get_executor();
    asio::post(executor, [self = std::unique_ptr<future_wait>(&n), aborted]() mutable {
      auto handler = std::move(self->who_);
      const auto what = std::move(self->what_);
      auto slot = asio::get_associated_cancellation_slot(handler);
      if (slot.is_connected()) slot.clear();
      self.reset();
      auto& result = *weft::detail::future_access::state(what);
      std::exception_ptr error;
      if (aborted)
        error =
            std::make_exception_ptr(std::system_error(asio::error::make_error_code(asio::error::operation_aborted)));
      else
        error = result.take_error();
      if constexpr (std::is_void_v<T>) {
        std::move(handler)(error);
      } else if (error) {
        std::move(handler)(error, T());
      } else {
        std::move(handler)(error, T(std::as_const(result.value())));
      }
    });
  }

  future<T> what_;
  Handler who_;
  bool asked_ = false;
  asio::executor_work_guard<asio::associated_executor_t<Handler, asio::any_io_executor>> work_;
};

template <class T>
struct initiate_get {
  template <class Handler>
  void operator()(Handler&& who, future<T> what) const {
    using node = future_wait<T, std::decay_t<Handler>>;
    const asio::any_io_executor otherwise =
        on_a_loop() ? asio::any_io_executor(this_io_context().get_executor()) : asio::system_executor();
    node::begin(std::make_unique<node>(std::move(what), std::forward<Handler>(who), otherwise));
  }
};

}  // namespace detail

/// An asynchronous operation of Asio that completes when `what` is ready, with void(std::exception_ptr), or
/// void(std::exception_ptr, T), which gets a copy of the result. T is default-constructible, as asio::co_spawn wants
/// it.
///
/// Suspends: as the token does; it never blocks the thread.
/// Cancel:   by the token's cancellation slot: completes with operation_aborted; the work goes on.
/// Threads:  any. The handler runs in its executor; without one, on the caller's loop, else in Asio's system_executor.
/// Ordering: what the producer wrote is visible.
/// Throws:   no_state; what the work threw comes as the exception.
template <class T, class Token>
auto async_get(future<T> what, Token&& token) {
  static_assert(!std::is_reference_v<T>, "async_get() of a future of a reference: give a pointer");
  if (!what.valid()) throw no_state();
  using signature = std::conditional_t<std::is_void_v<T>, std::type_identity<void(std::exception_ptr)>,
                                       std::type_identity<void(std::exception_ptr, value_or_unit<T>)>>;
  return asio::async_initiate<Token, typename signature::type>(detail::initiate_get<T>(), token, std::move(what));
}
#if defined(ASIO_HAS_CO_AWAIT)
/// For co_await in an asio::awaitable.
template <class T>
asio::awaitable<T> async_get(future<T> what) {
  return async_get(std::move(what), asio::use_awaitable);
}
#endif

}  // namespace io
}  // namespace weft
