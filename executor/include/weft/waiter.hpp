#pragma once
// How anything in weft waits. Every blocking primitive is written once, on these:
//
//   checkpoint();                          // the caller may be cancelled here
//   waiter w(wait_kind::other, this);      // announces a wait of whoever runs here: fiber, CPU task, thread
//   ...publish w.handle() where a waker will find it...
//   switch (w.suspend(deadline)) { ... }   // exactly one of woken, timed_out, cancelled
//
// An agent is who waits. Its `word` holds a wait's number and state; whoever moves the state from `waiting` decides
// that wait, and nobody else touches it. Agents live in memory that stays readable while the runtime lives, so a waker
// that comes late finds a newer number and goes away. Model: tests/model/park_wake.pml.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>

#include "weft/deadline.hpp"
#include "weft/departure.hpp"
#include "weft/runnable.hpp"
#include "weft/timer.hpp"

namespace weft {

/// What a wait is for, as reports name it.
enum class wait_kind : std::uint8_t { none, future, timer, readable, writable, io, lock, channel, turn, other };
const char* to_string(wait_kind kind) noexcept;

/// How a wait ended.
enum class wake_reason : std::uint8_t { woken = 2, timed_out = 3, cancelled = 4 };

namespace detail {

class cancel_watch;
class channel_core;
class fiber_wait;
class loop_core;
class scope;
class task_core;
class time_limit;
struct light_wait;
/// How large that is.
inline constexpr std::size_t room_of_time_limit = 48;
struct context_values;

/// Who can wait. A fiber's and a CPU task's lies in the control block of its stack; a thread's is never freed.
/// As a runnable it is what a loop is given to resume it.
struct agent : runnable {
  enum class kind : std::uint8_t { fiber, cpu, body, thread };
  enum state : std::uint64_t { running = 0, waiting = 1, state_mask = 7, one_wait = 8 };

  explicit agent(kind k) noexcept : runnable(runnable::kind::resume), what(k) {}
  void run() noexcept final {}
  void fail(std::exception_ptr) noexcept final {}

  // A wait touches two cache lines: the first, and the one where a fiber's registers follow. What it does not need lies
  // between.
  //
  // Who may touch what:
  //   word         the agent starts and ends a wait; wakers decide it, a fiber's own loop with a plain store, others
  //                with a CAS.
  //   hint         set by whoever cancels a scope the agent may be in; cleared by the agent.
  //   cancellable, reach  written by the agent before a wait; read by cancellers of CPU tasks and threads.
  //   waits_for, target, target_task, and the atomics under "for reports"  written by the agent, read by anybody,
  //                without order.
  //   the rest     the agent; for a parked fiber also its loop.
  std::atomic<std::uint64_t> word{0};
  std::atomic<bool> hint{false};
  std::atomic<bool> cancellable{false};
  std::atomic<std::uint16_t> reach{0};  ///< off the loops: the depth of the outermost scope whose cancellation it heeds
  const kind what;
  std::uint8_t shields = 0;
  std::uint8_t turn = 0;  ///< counts checkpoints that did not switch
  std::atomic<wait_kind> waits_for{wait_kind::none};
  loop_core* home = nullptr;
  task_core* task = nullptr;
  scope* innermost = nullptr;
  void (*deliver)(agent&) noexcept = nullptr;  ///< resumes an agent that is no fiber
  cancel_watch* watch = nullptr;               ///< of a test that looks at its cancellation
  // Of a body that runs under bind(): its context variables (others' are in their task), and the context of the
  // algorithm it is a body of.
  context_values** bound_values = nullptr;
  const void* bound_in = nullptr;

  // For reports.
  std::atomic<std::uint64_t> task_id{0};
  std::atomic<std::uint64_t> parent_id{0};
  std::atomic<const void*> site{nullptr};             ///< the bits of a std::source_location
  std::atomic<char> name[40] = {};                    ///< cut to fit; written before task_id
  std::array<std::atomic<const void*>, 3> held = {};  ///< the first few of the mutexes it holds
  std::uint32_t locks = 0;                            ///< how many it holds
  std::atomic<const void*> target{nullptr};
  std::atomic<std::uint64_t> target_task{0};

  /// It has been resumed.
  [[gnu::always_inline]] wake_reason came_back() noexcept {
    cancellable.store(false, std::memory_order_release);
    return static_cast<wake_reason>(word.load(std::memory_order_acquire) & state_mask);
  }
  /// Its wait `w` ends.
  [[gnu::always_inline]] void take_back(std::uint64_t w) noexcept {
    waits_for.store(wait_kind::none, std::memory_order_release);
    word.store(w & ~std::uint64_t{state_mask}, std::memory_order_release);
  }

  void hold(const void* lock) noexcept {
    const std::uint32_t before = locks++;
    if (before < held.size()) [[likely]]
      held[before].store(lock, std::memory_order_relaxed);
  }
  /// True when it was the last that it took, and is noted; then it is given up.
  bool gives_up_last(const void* lock) noexcept {
    const std::uint32_t left = locks - 1;
    if (left >= held.size() || held[left].load(std::memory_order_relaxed) != lock) return false;
    locks = left;
    held[left].store(nullptr, std::memory_order_relaxed);
    return true;
  }
  void give_up(const void* lock) noexcept {
    if (locks == 0 || gives_up_last(lock)) return;
    --locks;
    for (std::size_t i = 0; i < held.size(); ++i) {
      if (held[i].load(std::memory_order_relaxed) != lock) continue;
      const std::size_t last = locks < held.size() ? locks : held.size() - 1;
      held[i].store(held[last].load(std::memory_order_relaxed), std::memory_order_relaxed);
      held[last].store(nullptr, std::memory_order_relaxed);
      return;
    }
  }
};

/// The agent that runs here; null on a loop's own stack and on a plain thread that has not waited yet.
agent* current_agent() noexcept;
/// The id of the calling task; 0 for none.
std::uint64_t current_task_id() noexcept;
/// The agent that runs here; makes one for a plain thread. Throws bad_wait on a loop's own stack, and wait_in_algorithm
/// in a oneTBB algorithm that weft did not start.
agent& waiting_agent();
agent& waiting_agent_off_loops();

}  // namespace detail

/// Wakes one wait. Cheap to copy, valid for as long as the runtime lives; after the wait was decided it does nothing.
/// Only one caller may wake with `woken`: whoever took the waker from where it was published.
class waker {
 public:
  waker() noexcept = default;
  /// True when this call decided the wait. Touches nothing of the waiter afterwards.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: writes before wake() are visible to the woken agent.
  /// Throws:   nothing.
  bool wake(wake_reason reason = wake_reason::woken) const noexcept;

  /// wake() in two steps, for who holds something that the waiter must not find held: decides the wait, by an atomic
  /// operation even on the waiter's own loop, so several may try. True for the one who must then call resume(); until
  /// that the waiter, its frame and what lies on it stay as they are.
  [[nodiscard]] bool claim(wake_reason reason = wake_reason::woken) const noexcept;
  /// The same for a waker in one pair of hands.
  [[nodiscard]] bool claim_alone() const noexcept;
  /// After claim(). Touches nothing of the waiter afterwards.
  void resume() const noexcept;

  /// Of one wait.
  friend bool operator==(const waker&, const waker&) noexcept = default;

  /// False once the wait was decided.
  [[nodiscard]] bool waits() const noexcept { return who_ && who_->word.load(std::memory_order_acquire) == word_; }

 private:
  friend class waiter;
  friend class detail::fiber_wait;
  friend class detail::channel_core;
  friend class detail::time_limit;
  friend struct detail::light_wait;
  /// By the waiter itself, once it has been resumed, where there is no class waiter: ends the wait, and says how it
  /// ended.
  wake_reason end() const noexcept {
    const wake_reason how = who_->came_back();
    who_->take_back(word_);
    return how;
  }
  waker(detail::agent* who, std::uint64_t word) noexcept : who_(who), word_(word) {}
  detail::agent* who_ = nullptr;
  std::uint64_t word_ = 0;
};

namespace detail {

/// A wait of which the caller makes the jump, in few frames, for who waits often (see departure.hpp):
///
///     const waker who = light_wait::announce(kind, this);   // null: here it takes a waiter
///     ...                                                   // `who` is put where somebody finds it
///     if (const departure away = light_wait::leave(who); away.to) away.take();
///     const wake_reason how = light_wait::end(who);
struct light_wait {
  /// Null where the caller is no fiber, may be cancelled now, has a deadline from its task, or must not wait.
  [[nodiscard]] static waker announce(wait_kind kind, const void* target) noexcept;
  [[nodiscard]] static departure leave(const waker& who);
  static wake_reason end(const waker& who) noexcept { return who.end(); }
  /// Asks the core for what wake() looks at, and who resumes the fiber then.
  static void fetch(const waker& who) noexcept {
    __builtin_prefetch(who.who_, 1);
    __builtin_prefetch(&who.who_->target, 1);
  }
};

}  // namespace detail

/// One wait of the calling agent, on its frame.
class waiter {
 public:
  /// Announces a wait. `target` is what reports name; `target_task` the id of the task waited for, if it is one.
  explicit waiter(wait_kind kind, const void* target = nullptr, std::uint64_t target_task = 0)
      : waiter(detail::waiting_agent(), kind, target, target_task) {}
  /// The same for a caller that knows who it is.
  waiter(detail::agent& who, wait_kind kind, const void* target = nullptr, std::uint64_t target_task = 0);
  /// Ends the wait; one that was never suspended is taken back.
  ~waiter();
  waiter(const waiter&) = delete;
  waiter& operator=(const waiter&) = delete;

  [[nodiscard]] waker handle() const noexcept { return waker(&agent_, word_); }

  /// Gives the core to others until the wait is decided. Once only.
  ///
  /// Suspends: always, unless it was decided already.
  /// Cancel:   gives wake_reason::cancelled; nothing is thrown.
  /// Threads:  the agent that made the waiter.
  /// Ordering: what the waker wrote before wake() is visible.
  /// Throws:   wait_in_algorithm in a oneTBB body when too many wait. No memory for a timer: it has timed out.
  wake_reason suspend(deadline until = {});

  /// The same, deaf to cancellation.
  wake_reason suspend_shielded(deadline until = {});

 private:
  detail::agent& agent_;
  std::uint64_t word_;
};

/// A cancellation point that also takes turns: throws cancelled when a scope around the caller was cancelled, and every
/// 128th time lets the other fibers of the loop run. A wait begins with one.
void checkpoint();

namespace detail {
/// checkpoint(); gives who the caller is.
agent& checkpoint_of_caller();
/// Lets the other fibers of the loop run (another thread, off a loop). No cancellation point.
void take_turns() noexcept;
/// Resumes an agent that has parked outside any wait of its own. Any thread; touches it no more afterwards.
void resume(agent& a) noexcept;
/// The cancellation half of checkpoint().
void throw_if_cancelled(agent& who);
}  // namespace detail

}  // namespace weft
