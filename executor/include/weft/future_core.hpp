#pragma once
// What all futures share, whatever their type: who waits for it, how many hold it, the error.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <utility>

#include "weft/config.hpp"
#include "weft/deadline.hpp"
#include "weft/error.hpp"
#include "weft/loop.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

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
  [[nodiscard]] bool failed() const noexcept { return outcome_ == outcome::error || was_cancelled(); }
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
    if (!failed()) return nullptr;
    observed_.store(true, std::memory_order_relaxed);
    return error_;
  }
  void rethrow_error() const {
    if (failed()) throw_error();
  }
  /// True when the producer ended because it was cancelled.
  [[nodiscard]] bool was_cancelled() const noexcept { return outcome_ == outcome::cancelled; }

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
  enum class outcome : std::uint8_t {
    none,
    value,
    error,
    cancelled  ///< also an error: the producer's own cancellation
  };
  static constexpr std::uint64_t one_hold = std::uint64_t{1} << 32;
  static constexpr std::uint64_t handle_mask = one_hold - 1;

  explicit future_core(std::uint64_t counts) noexcept : counts_(counts) {}
  virtual ~future_core() {}
  virtual void destroy() noexcept = 0;

  void set_error(std::exception_ptr error, bool was_cancelled) noexcept {
    ::new (static_cast<void*>(&error_)) std::exception_ptr(std::move(error));
    outcome_ = was_cancelled ? outcome::cancelled : outcome::error;
  }
  /// Makes it ready and wakes all who wait. The outcome must be set.
  void publish() noexcept;
  /// The same for a task that ended off the loops: who is woken is sent together with its record.
  void publish_off_loops() noexcept;

  std::atomic<std::uint64_t> counts_;
  std::atomic<std::uintptr_t> head_{0};
  outcome outcome_ = outcome::none;
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
  void end_error() noexcept;
  static void fire_all(wait_node* newest) noexcept;
  bool wait_for_it(agent& who, deadline until, bool deaf);
  bool wait_owned_slowly(deadline until);
  [[nodiscard]] bool wait_for_own(agent& who);
  [[noreturn]] void give_up_own(agent& who);
  [[nodiscard]] bool nobody_else() const noexcept;
};

}  // namespace weft::detail
