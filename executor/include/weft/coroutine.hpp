#pragma once
// Functions written as C++20 coroutines, for code that is written so already.
//
//   coroutine<int> size_of(std::string host) {
//     auto page = co_await fetch(host);          // a future, a lazy, a coroutine, another library's awaitable
//     sleep_for(1s);                             // weft's own waits need no co_await
//     co_return page.size();
//   }
//   int n = size_of("example.org").get();        // runs it here
//   future<int> f = spawn(size_of("weft.org"));  // or as a task
//
// A coroutine runs on whoever awaits it: the fiber of a task, a CPU task, a thread. So it is always resumed where it
// was started, and everything that holds for a fiber holds in it: scopes and deadlines, names, thread_local. A co_await
// waits as await() does, and gives what that gives; one coroutine in another costs neither a task nor stack, however
// deep. A task has its one stack while it waits, so coroutines save none.
//
// What a coroutine refers to must outlive it: parameters are copied into it, what a lambda has captured is not.

#include <coroutine>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>
#include <variant>

#include "weft/await.hpp"
#include "weft/error.hpp"
#include "weft/lazy.hpp"
#include "weft/result.hpp"
#include "weft/spawn.hpp"

namespace weft {

namespace detail {
template <class T>
class coroutine_promise;
template <class T>
class coroutine_frame;
class coroutine_promise_base;
}  // namespace detail

/// Calling one runs nothing. get() or co_await runs it in the caller; spawn, gather and the rest take it where they
/// take a future. Either happens once; one that was never started may be destroyed.
template <class T = void>
class [[nodiscard]] coroutine {
 public:
  using result_type = T;
  using promise_type = detail::coroutine_promise<T>;

  /// Runs it here and gives its result.
  ///
  /// Suspends: as the coroutine does.
  /// Cancel:   it belongs to the scopes of the caller: its waits throw cancelled, and it has ended.
  /// Threads:  any.
  /// Ordering: it runs in the caller.
  /// Throws:   already_awaited the second time; what the coroutine throws.
  T get() { return take_frame().run(); }

  /// Gives it up as a function, for those who start it elsewhere. Throws already_awaited when it is gone.
  auto take_body() {
    return [frame = take_frame()]() mutable -> T { return frame.run(); };
  }

  /// From a coroutine of another library: spawns it, and awaits that. (In one of weft's, co_await runs it at once.)
  auto operator co_await() && { return spawn(std::move(*this)).operator co_await(); }

 private:
  template <class>
  friend class detail::coroutine_promise;
  friend class detail::coroutine_promise_base;

  explicit coroutine(detail::coroutine_frame<T> frame) noexcept : frame_(std::move(frame)) {}
  detail::coroutine_frame<T> take_frame() {
    if (!frame_) throw already_awaited();
    return std::move(frame_);
  }

  detail::coroutine_frame<T> frame_;
};

template <class T>
class future<coroutine<T>> {
  static_assert(!std::is_same_v<T, T>,
                "this task would give a coroutine and never run it: spawn(f()), not spawn(f); where f is a lambda with "
                "captures, spawn([=] { return f().get(); })");
};

namespace detail {

template <class T>
inline constexpr bool is_lazy<coroutine<T>> = true;

/// Owns a coroutine that is not running: not started yet, or at its end.
template <class T>
class coroutine_frame {
 public:
  explicit coroutine_frame(coroutine_promise<T>& p) noexcept : promise_(&p) {}

  explicit operator bool() const noexcept { return promise_ != nullptr; }

  /// Here. All its waits are waits of the caller, so a coroutine suspends only for another of ours: one it awaits, or
  /// the one that awaits it. It says which, and returns; a transfer from one to the other would take stack in builds
  /// that are not optimised.
  T run() {
    std::coroutine_handle<>& next = promise_->running;
    next = handle();
    promise_->next = &next;
    while (next) std::exchange(next, nullptr).resume();
    return promise_->take();
  }

  // As an awaiter, of the coroutine that awaits it.
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Caller>
  void await_suspend(std::coroutine_handle<Caller> caller) const noexcept {
    promise_->continuation = caller;
    promise_->next = caller.promise().next;
    *promise_->next = handle();
  }
  T await_resume() { return promise_->take(); }

 private:
  struct destroy {
    void operator()(coroutine_promise<T>* p) const noexcept {
      std::coroutine_handle<coroutine_promise<T>>::from_promise(*p).destroy();
    }
  };
  [[nodiscard]] auto handle() const noexcept {
    return std::coroutine_handle<coroutine_promise<T>>::from_promise(*promise_);
  }

  std::unique_ptr<coroutine_promise<T>, destroy> promise_;
};

/// A wait that is over when it is asked for its result: the coroutine does not suspend, its fiber does.
template <class A>
class awaited_in_place {
 public:
  explicit awaited_in_place(A&& a) noexcept : what_(std::forward<A>(a)) {}
  [[nodiscard]] bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  decltype(auto) await_resume() { return await(std::forward<A>(what_)); }

 private:
  A&& what_;
};

class coroutine_promise_base {
 public:
  std::coroutine_handle<> continuation;     ///< who awaits it; null for whoever runs it
  std::coroutine_handle<>* next = nullptr;  ///< where run() looks for who goes on
  std::coroutine_handle<> running;          ///< that place, in the coroutine that is run()

  std::suspend_always initial_suspend() noexcept { return {}; }
  std::suspend_always final_suspend() noexcept {
    *next = continuation;
    return {};
  }

  template <class U>
  coroutine_frame<U> await_transform(coroutine<U>& c) {
    return c.take_frame();
  }
  template <class U>
  coroutine_frame<U> await_transform(coroutine<U>&& c) {
    return c.take_frame();
  }
  template <awaitable A>
  awaited_in_place<A> await_transform(A&& a) noexcept {
    return awaited_in_place<A>(std::forward<A>(a));
  }
};

/// Stores what co_return gives.
template <class T>
class coroutine_result : public coroutine_promise_base {
 public:
  using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, value_or_unit<T>>;

  void unhandled_exception() noexcept { outcome_.template emplace<2>(std::current_exception()); }

  T take() {
    if (outcome_.index() == 2) std::rethrow_exception(*std::get_if<2>(&outcome_));
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(**std::get_if<1>(&outcome_));
    else if constexpr (!std::is_void_v<T>)
      return std::move(*std::get_if<1>(&outcome_));
  }

 protected:
  std::variant<std::monostate, stored, std::exception_ptr> outcome_;
};

template <class T>
class coroutine_promise final : public coroutine_result<T> {
 public:
  coroutine<T> get_return_object() noexcept { return coroutine<T>(coroutine_frame<T>(*this)); }

  template <class U = T>
  void return_value(U&& value) {
    if constexpr (std::is_reference_v<T>)
      this->outcome_.template emplace<1>(std::addressof(value));
    else
      this->outcome_.template emplace<1>(std::forward<U>(value));
  }
};
template <>
class coroutine_promise<void> final : public coroutine_result<void> {
 public:
  inline coroutine<void> get_return_object() noexcept;
  void return_void() noexcept {}
};
inline coroutine<void> coroutine_promise<void>::get_return_object() noexcept {
  return coroutine<void>(coroutine_frame<void>(*this));
}

}  // namespace detail
}  // namespace weft
