#pragma once
// Waiting, as a fiber does, for what C++20 coroutines await.
//
// A library of coroutines that knows nothing of weft hands out awaitables. await(x) waits for one where there is no
// coroutine: in a fiber, a CPU task, a thread. The other way round, every future can be awaited with co_await in any
// coroutine, which then goes on on the loop it awaited from.

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "weft/cancel.hpp"
#include "weft/future.hpp"
#include "weft/lazy.hpp"
#include "weft/waiter.hpp"

namespace weft {

namespace detail {

/// The awaiter that co_await would ask: what an operator co_await gives, or the object itself.
template <class A>
decltype(auto) awaiter_of(A&& a) {
  if constexpr (requires { std::forward<A>(a).operator co_await(); })
    return std::forward<A>(a).operator co_await();
  else if constexpr (requires { operator co_await(std::forward<A>(a)); })
    return operator co_await(std::forward<A>(a));
  else
    return std::forward<A>(a);
}

/// For an awaitable that await() is to wait for in another way: a specialisation has `static auto get(A&&)`.
template <class A>
struct own_way {};
template <class A>
concept has_own_way = requires(A&& a) { own_way<std::remove_cvref_t<A>>::get(std::forward<A>(a)); };

/// What has a get() that waits as weft's waits do.
template <class A>
inline constexpr bool is_own = is_future<std::remove_cvref_t<A>> || is_lazy<std::remove_cvref_t<A>>;

template <class A>
concept awaitable = is_own<A> || has_own_way<A> || requires(A&& a) {
  awaiter_of(std::forward<A>(a)).await_ready() ? 1 : 0;
  awaiter_of(std::forward<A>(a)).await_resume();
};

template <class A>
struct awaited {
  using awaiter = std::remove_reference_t<decltype(awaiter_of(std::declval<A>()))>;
  using type = decltype(std::declval<awaiter&>().await_resume());
};
template <class A>
  requires is_own<A>
struct awaited<A> {
  using type = decltype(std::declval<A>().get());
};
template <class A>
  requires has_own_way<A>
struct awaited<A> {
  using type = decltype(own_way<std::remove_cvref_t<A>>::get(std::declval<A>()));
};

/// A handle for somebody else to resume, once, from anywhere; and the caller's wait for that. The caller may run that
/// somebody's code before it waits, so its wait begins only then.
///
/// Who may touch what: state_ decides. Until it is `waiting` the caller has who_; then whoever resumes.
class resumption {
 public:
  /// Throws what a wait of the caller's would throw; bad_wait in the body of an algorithm, which may be refused a wait
  /// when it is too late.
  resumption();
  ~resumption() { handle_.destroy(); }
  resumption(const resumption&) = delete;
  resumption& operator=(const resumption&) = delete;

  [[nodiscard]] std::coroutine_handle<> handle() const noexcept { return handle_; }
  /// Until it was resumed; deaf to cancellation.
  void wait() noexcept;

 private:
  enum : std::uint8_t { running, waiting, resumed };
  struct waking;  // the coroutine of the handle

  void resume() noexcept;

  agent& caller_;
  alignas(std::max_align_t) std::byte frame_[192];  // the coroutine's, if it fits
  std::coroutine_handle<> handle_;
  waker who_;
  std::atomic<std::uint8_t> state_{running};
};

/// Has the awaiter suspend a coroutine, and waits in its stead.
template <class Awaiter>
void suspend_by(Awaiter& awaiter) {
  resumption there;
  using R = decltype(awaiter.await_suspend(there.handle()));
  if constexpr (std::is_void_v<R>) {
    awaiter.await_suspend(there.handle());
  } else if constexpr (std::is_same_v<R, bool>) {
    if (!awaiter.await_suspend(there.handle())) return;
  } else {
    awaiter.await_suspend(there.handle()).resume();  // perhaps ours
  }
  there.wait();
}

}  // namespace detail

/// Waits for anything that a coroutine could co_await, and gives what that would give. For a future, lazy or coroutine
/// of weft it is get().
///
/// Suspends: a checkpoint always; switches when not ready, else every 128th call.
/// Cancel:   throws cancelled. weft's own are waited for as by get(). Another's awaitable that has begun cannot be
///           called back: await() is deaf until it has ended, then throws, and what it gave is dropped; shield() keeps
///           it.
/// Threads:  a fiber, a CPU task, a thread, also without a runtime; the awaitable may resume from any thread. Code of
///           the awaitable that runs at once (a lazy task) runs in the caller, and may wait there.
/// Ordering: what was written before the resumption is visible.
/// Throws:   what the awaitable throws; wait_in_algorithm for another's awaitable in the body of an algorithm.
template <detail::awaitable A>
typename detail::awaited<A>::type await(A&& a) {
  if constexpr (detail::is_own<A>) {
    return std::forward<A>(a).get();
  } else if constexpr (detail::has_own_way<A>) {
    return detail::own_way<std::remove_cvref_t<A>>::get(std::forward<A>(a));
  } else {
    checkpoint();
    auto&& awaiter = detail::awaiter_of(std::forward<A>(a));
    if (!awaiter.await_ready()) {
      detail::suspend_by(awaiter);
      check_cancelled();
    }
    return awaiter.await_resume();
  }
}

}  // namespace weft
