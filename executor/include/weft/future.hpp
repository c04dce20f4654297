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

#include "weft/config.hpp"
#include "weft/deadline.hpp"
#include "weft/error.hpp"
#include "weft/loop.hpp"
#include "weft/result.hpp"
#include "weft/waiter.hpp"

namespace weft {

template <class T>
class future;
template <class T>
class promise;

namespace detail {

/// Memory for a record; a loop keeps some for the next ones.
void* allocate_record(std::size_t size);
void free_record(void* memory, std::size_t size) noexcept;

/// Tells the program of an error that nobody took: config.on_unhandled.
void report_unhandled(task_info task, std::exception_ptr error) noexcept;

/// An entry in a future's list of those who wait. It lives with whoever waits.
struct wait_node {
  /// Called once, when the future is ready, by whoever made it so. May destroy the node.
  void (*fire)(wait_node&) noexcept = nullptr;
  wait_node* next = nullptr;
};

class future_core;

/// An agent's place in the lists of one future, or of each of several; on its frame. Model: tests/model/park_wake.pml.
///
/// A list may still hold it when the wait has ended otherwise (a timeout, a cancellation, another future), and another
/// thread may be about to look at it. So the frame stays until leave() has come back.
class future_waiter : wait_node {
 public:
  /// For a wait on `what` only, or `shared` with others: then who fires first is told by fired().
  future_waiter(agent& owner, waker who, bool shared = false) noexcept;

  /// False when `what` is ready already; then there is nothing to leave.
  [[nodiscard]] bool link(future_core& what) noexcept;
  /// Takes it out of the list of `what`; comes back when nobody has it in hand any more. Not after it fired.
  ///
  /// Suspends: perhaps, for as long as another thread needs for a few instructions; deaf to cancellation.
  void leave(future_core& what) noexcept;
  /// True when this one ended the wait.
  [[nodiscard]] bool fired() const noexcept { return fired_; }

 private:
  friend class future_core;
  enum : std::uint8_t { in, gone, awaited };

  static void fire_it(wait_node& n) noexcept;
  [[nodiscard]] bool dead() const noexcept { return !who_.waits(); }
  void fire_here() noexcept;
  void let_go() noexcept;
  void wait_until_out() noexcept;

  waker who_;
  agent& owner_;
  const bool shared_;
  bool fired_ = false;
  std::atomic<std::uint8_t> out_{in};
};

/// What all futures share: the count of handles, the list of waiters, the error.
///
/// Who may touch what:
///   counts_   any thread. Low half: handles of users; high half: holds of the producer and of combinators.
///   head_     any thread. 0: nobody waits; `done`: ready; else the newest waiter, marked when it is the only one there
///             can be.
///   here_     written by the spawner before it lets go of the state.
///   alone_    the producer, between publish() and drop_hold().
///   the rest  written by the producer before head_ becomes `done`, read by anybody after.
class future_core {
 public:
  future_core(const future_core&) = delete;
  future_core& operator=(const future_core&) = delete;

  static void* operator new(std::size_t size) { return allocate_record(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { free_record(memory, size); }
  static void* operator new(std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); }
  static void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
    ::operator delete(memory, alignment);
  }

  [[nodiscard]] bool ready() const noexcept { return head_.load(std::memory_order_acquire) == done; }
  [[nodiscard]] bool failed() const noexcept { return outcome_ == outcome::error; }
  [[nodiscard]] bool last_handle() const noexcept {
    return (counts_.load(std::memory_order_acquire) & handle_mask) == 1;
  }

  void add_handle() noexcept { counts_.fetch_add(1, std::memory_order_relaxed); }
  void drop_handle() noexcept { drop(1); }
  void add_hold() noexcept { counts_.fetch_add(one_hold, std::memory_order_relaxed); }
  /// The producer is a task of this loop that has not started. Nobody else knows of the state yet.
  void produced_here() noexcept { here_ = this_loop_token(); }
  void drop_hold() noexcept {
    if (alone_) {
      alone_ = false;
      counts_.store(1, std::memory_order_relaxed);
    } else {
      drop(one_hold);
    }
  }

  /// Waits until it is ready. False when `until` passed first.
  bool wait(deadline until);
  /// Waits until it is ready, deaf to cancellation.
  void wait_shielded() noexcept;
  /// wait(), and if that throws, cancels the producer and waits for it before it throws on: the owner's wait.
  bool wait_owned(deadline until);

  /// The error; null if it has a value. Counts as taken: it will not be reported.
  [[nodiscard]] std::exception_ptr take_error() const noexcept {
    if (outcome_ != outcome::error) return nullptr;
    observed_.store(true, std::memory_order_relaxed);
    return error_;
  }
  void rethrow_error() const {
    if (outcome_ == outcome::error) throw_error();
  }
  /// True when the producer ended because it was cancelled.
  [[nodiscard]] bool was_cancelled() const noexcept { return cancelled_; }

  /// Asks the producer to end. A promise's future is cancelled at once.
  virtual void request_cancel(cancel_reason reason, std::uint64_t by) noexcept = 0;
  /// The producer's task id, name and site, for reports; id 0 when it is no task.
  [[nodiscard]] virtual task_info producer() const = 0;
  [[nodiscard]] virtual std::uint64_t producer_id() const noexcept { return 0; }

  /// Puts `n` into the list. False when it is ready already; then `n` was not touched by anybody.
  [[nodiscard]] bool link(wait_node& n) noexcept;
  /// Takes `n` out. False when it fired or is about to.
  [[nodiscard]] bool unlink(wait_node& n) noexcept;

 protected:
  enum class outcome : std::uint8_t { none, value, error };
  static constexpr std::uint64_t one_hold = std::uint64_t{1} << 32;
  static constexpr std::uint64_t handle_mask = one_hold - 1;

  explicit future_core(std::uint64_t counts) noexcept : counts_(counts) {}
  virtual ~future_core() {}
  virtual void destroy() noexcept = 0;

  void set_error(std::exception_ptr error, bool was_cancelled) noexcept {
    ::new (static_cast<void*>(&error_)) std::exception_ptr(std::move(error));
    outcome_ = outcome::error;
    cancelled_ = was_cancelled;
  }
  /// Makes it ready and wakes all who wait. The outcome must be set.
  void publish() noexcept;

  std::atomic<std::uint64_t> counts_;
  std::atomic<std::uintptr_t> head_{0};
  outcome outcome_ = outcome::none;
  bool cancelled_ = false;
  mutable std::atomic<bool> observed_{false};
  bool reports_ = true;  ///< an error that nobody took is reported
  bool alone_ = false;
  std::uint32_t here_ = 0;  ///< the token of the loop that the producer stays on; 0 for any
  union {
    std::exception_ptr error_;
  };

 private:
  friend class future_waiter;

  [[noreturn]] void throw_error() const;
  [[noreturn]] void throw_waits_for_itself() const;

  static constexpr std::uintptr_t done = 1;
  static constexpr std::uintptr_t only = 2;  ///< a mark on the address of a waiter

  void drop(std::uint64_t n) noexcept {
    // The only holder needs no read-modify-write: nobody else can add to the count.
    if (counts_.load(std::memory_order_acquire) == n || counts_.fetch_sub(n, std::memory_order_acq_rel) == n) end();
  }
  void end() noexcept;
  static void fire_all(wait_node* newest) noexcept;
  bool wait_for_it(agent& who, deadline until, bool deaf);
  bool wait_owned_slowly(deadline until);
  [[nodiscard]] bool wait_for_own(agent& who);
  [[noreturn]] void give_up_own(agent& who);
  [[nodiscard]] bool nobody_else() const noexcept;
};

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
