#pragma once
// The one future: a shared handle to a result that fibers, CPU tasks, threads, promises and combinators produce.

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "weft/deadline.hpp"
#include "weft/error.hpp"
#include "weft/future_core.hpp"
#include "weft/loop.hpp"
#include "weft/result.hpp"
#include "weft/waiter.hpp"

namespace weft {

template <class T>
class future;
template <class T>
class promise;

namespace detail {

/// A future_core with room for a T. References are kept as pointers, void as nothing.
template <class T>
class future_state : public future_core {
 public:
  using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, value_or_unit<T>>;

  template <class... Args>
  void emplace(Args&&... args) {
    if constexpr (std::is_reference_v<T>)
      ::new (static_cast<void*>(&value_)) stored(std::addressof(args)...);
    else
      ::new (static_cast<void*>(&value_)) stored(std::forward<Args>(args)...);
    outcome_ = outcome::value;
  }
  [[nodiscard]] stored& value() noexcept { return value_; }

 protected:
  explicit future_state(std::uint64_t counts) noexcept : future_core(counts) {}
  ~future_state() override { drop_value(); }
  void drop_value() noexcept {
    if (outcome_ == outcome::value) value_.~stored();
    outcome_ = outcome::none;
  }

  union {
    stored value_;
  };
};

/// Runs f and puts what it gives into the state.
template <class T, class F>
void emplace_result(future_state<T>& state, F&& f) {
  if constexpr (std::is_void_v<T>) {
    std::forward<F>(f)();
    state.emplace();
  } else if constexpr (std::is_reference_v<T>) {
    state.emplace(std::forward<F>(f)());
  } else {
    struct convert {  // guaranteed elision: the result is made in place
      F& f;
      operator T() const { return std::forward<F>(f)(); }
    };
    state.emplace(convert{f});
  }
}

/// The resumption of a coroutine as an entry of a loop's ready queue; lives in the coroutine's frame.
class coroutine_entry : public runnable {
 public:
  coroutine_entry() noexcept : runnable(kind::start) {}
  void run() noexcept final { handle.resume(); }
  void fail(std::exception_ptr) noexcept final;
  /// Remembers the loop of the caller, to come back to it.
  void remember_loop() noexcept;
  /// Any thread.
  void schedule() noexcept;

  std::coroutine_handle<> handle;

 private:
  loop_core* loop_ = nullptr;
};

struct future_access;

}  // namespace detail

/// A handle to a result that is there or will be. Copies refer to the same result; the work is done once.
template <class T>
class future {
 public:
  using value_type = T;

  future() noexcept = default;
  future(const future& other) noexcept : state_(other.state_) {
    if (state_) state_->add_handle();
  }
  future(future&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  future& operator=(future other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~future() {
    if (state_) state_->drop_handle();
  }

  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }

  /// True when get() would not wait. Throws no_state.
  [[nodiscard]] bool ready() const { return state().ready(); }

  /// The result, or the error rethrown; every call gives the same.
  ///
  /// Suspends: a checkpoint always; switches when not ready, else every 128th call.
  /// Cancel:   throws cancelled; the work goes on and can be awaited again.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: what the producer wrote is visible.
  /// Throws:   what the work threw; no_state; bad_wait when a task waits for itself.
  decltype(auto) get() & { return get_shared(); }
  decltype(auto) get() const& { return get_shared(); }

  /// The result, moved out when this is the last handle, else copied; the handle is given up.
  ///
  /// Suspends: a checkpoint always; switches when not ready, else every 128th call.
  /// Cancel:   throws cancelled; the last handle owns the work: it is cancelled too and has ended. Else it goes on.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: what the producer wrote is visible.
  /// Throws:   what the work threw; no_state; bad_wait; future_shared for a move-only T with other handles.
  T get() && {
    state().last_handle() ? state_->wait_owned({}) : state_->wait({});
    return std::move(*this).get_ready();
  }

  /// Waits until it is ready; throws none of its errors.
  ///
  /// Suspends: a checkpoint always; switches when not ready, else every 128th call.
  /// Cancel:   throws cancelled; the work goes on.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: what the producer wrote is visible.
  /// Throws:   no_state; bad_wait when a task waits for itself.
  void wait() const { state().wait({}); }

  /// Like wait(), for a time at most. True when it is ready.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> duration) const {
    return state().wait(deadline::after(duration));
  }
  /// Like wait(), until a time at most. True when it is ready.
  bool wait_until(clock::time_point when) const { return state().wait(when); }

  /// Asks the work to end. It sees the request at its next wait; one that has not started never starts.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: none.
  /// Throws:   no_state.
  void cancel() const { state().request_cancel(cancel_reason::user, detail::current_task_id()); }

  /// From a C++20 coroutine: gives a copy of the result, or throws. The coroutine goes on on the loop it awaited from.
  auto operator co_await() const& { return awaiter(*this); }
  auto operator co_await() && { return awaiter(std::move(*this)); }

 private:
  friend struct detail::future_access;
  template <class>
  friend class promise;

  explicit future(detail::future_state<T>* state) noexcept : state_(state) {}

  detail::future_state<T>& state() const {
    if (!state_) throw no_state();
    return *state_;
  }

  decltype(auto) get_shared() const {
    state().wait({});
    state_->rethrow_error();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*state_->value());
    else if constexpr (!std::is_void_v<T>)
      return std::as_const(state_->value());
  }

  class awaiter : detail::wait_node {
   public:
    explicit awaiter(future f) : future_(std::move(f)) { (void)future_.state(); }
    awaiter(awaiter&& other) noexcept : future_(std::move(other.future_)) {}

    [[nodiscard]] bool await_ready() const noexcept { return future_.state_->ready(); }
    bool await_suspend(std::coroutine_handle<> handle) noexcept {
      entry_.handle = handle;
      entry_.remember_loop();
      this->fire = [](wait_node& n) noexcept { static_cast<awaiter&>(n).entry_.schedule(); };
      return future_.state_->link(*this);
    }
    T await_resume() { return std::move(future_).get_ready(); }

   private:
    future future_;
    detail::coroutine_entry entry_;
  };

  T get_ready() && {
    const future self = std::move(*this);
    self.state_->rethrow_error();
    if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*self.state_->value());
    else if constexpr (!std::is_void_v<T>) {
      if (self.state_->last_handle()) return std::move(self.state_->value());
      if constexpr (std::is_copy_constructible_v<T>)
        return std::as_const(self.state_->value());
      else
        throw future_shared();
    }
  }

  detail::future_state<T>* state_ = nullptr;
};

namespace detail {

/// The way in for combinators.
struct future_access {
  template <class T>
  static future<T> adopt(future_state<T>* state) noexcept {
    return future<T>(state);
  }
  template <class T>
  static future_state<T>* state(const future<T>& f) noexcept {
    return f.state_;
  }
  /// Takes the handle out; the caller drops it.
  template <class T>
  static future_state<T>* release(future<T>&& f) noexcept {
    return std::exchange(f.state_, nullptr);
  }
};

template <class T>
inline constexpr bool is_future = false;
template <class T>
inline constexpr bool is_future<future<T>> = true;

}  // namespace detail
}  // namespace weft
