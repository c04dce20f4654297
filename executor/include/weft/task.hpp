#pragma once
// The record of a task: what it has besides its result. One allocation holds both, and the closure.

#include <atomic>
#include <cstdint>
#include <exception>
#include <source_location>
#include <string>
#include <string_view>

#include "weft/cancel.hpp"
#include "weft/config.hpp"
#include "weft/context_var.hpp"
#include "weft/deadline.hpp"
#include "weft/runnable.hpp"

namespace weft {

/// Names and sizes of a task. Combines with a place: `spawn(weft::anywhere, {.name = "fetch"}, f)`.
struct task_options {
  std::string_view name = {};  ///< copied
  std::size_t stack_size = 0;  ///< bytes; 0 for the runtime's default. Below min_stack_size: std::invalid_argument
};

/// Who is served first when CPU tasks wait for a worker. Nobody starves: the oldest of a lower priority is overtaken 8
/// times (normal) or 32 times (low) at the most.
enum class cpu_priority : std::uint8_t { high, normal, low };

/// For spawn_cpu: `spawn_cpu({.priority = cpu_priority::low, .start_by = deadline::after(50ms)}, f)`.
struct cpu_options {
  std::string_view name = {};  ///< copied
  cpu_priority priority = cpu_priority::normal;
  /// When a worker comes to the task later than that, it is not started: its future gives timed_out. (Then, not before:
  /// who waits no longer than that says timeout().)
  deadline start_by = {};
};

namespace detail {

/// Where a task is to run.
struct place {
  enum class how : std::uint8_t { here, anywhere, on_loop, detached, detached_anywhere };
  how what = how::here;
  unsigned index = 0;

  /// Under no scope of the caller.
  [[nodiscard]] constexpr bool apart() const noexcept { return what >= how::detached; }
  [[nodiscard]] constexpr bool any() const noexcept { return what == how::anywhere || what == how::detached_anywhere; }
};

class future_core;

/// What a record knows of the task_group it belongs to. All its children are kept by one loop.
///
/// Who may touch what: the fields are set when it is made; ended() and cancelled_by() are called on the loop `origin`.
class task_keeper {
 public:
  loop_core* origin = nullptr;
  scope* parent = nullptr;  ///< whose list the children are in
  deadline until;           ///< what they inherit

  /// A child has ended, and its record is about to go.
  virtual void ended(task_core& child) noexcept = 0;
  /// The scope that a new child would be cancelled with at once; null for none.
  [[nodiscard]] virtual const scope* cancelled_by() const noexcept = 0;

 protected:
  ~task_keeper() = default;
};

struct task_extras;

/// What `abandonable` is.
struct abandon {
  explicit abandon() = default;
};

/// A task's record from its spawn to its end. Belongs to two loops at the most:
///   home    where it runs (for a fiber); set when it starts, for good.
///   origin  the loop that spawned it, directly or through CPU tasks and threads: keeps it in its parent's list of
///           children, and forgets it there when it is done.
class task_core : public runnable {
 public:
  enum class flavour : std::uint8_t { fiber, cpu, blocking, abandonable };
  enum class stage : std::uint8_t { created, adopted, started, finished };
  enum class settled : std::uint8_t { not_yet, by_thread, by_canceller };

  task_core(flavour what, const task_options& options, std::source_location where)
      : runnable(kind::start), flavour_(what), site_(where) {
    if (options.stack_size != 0 || !options.name.empty()) [[unlikely]]
      take_options(options.name, options.stack_size);
  }
  ~task_core() {
    if (extras_) [[unlikely]]
      free_extras();
  }

  [[nodiscard]] task_info info() const;
  [[nodiscard]] std::uint64_t id() const noexcept { return own.id(); }
  [[nodiscard]] flavour what() const noexcept { return flavour_; }
  [[nodiscard]] bool cancel_asked() const noexcept { return asked_.load(std::memory_order_acquire) != 0; }
  [[nodiscard]] std::uint64_t parent() const noexcept { return parent_; }
  /// The values of its context variables; the task's own, while it runs.
  [[nodiscard]] context_values** values() noexcept {
    extras_ = true;
    return &values_;
  }

  /// The group that it is a child of; null for none.
  [[nodiscard]] task_keeper* group() const noexcept { return in_group_ ? group_ : nullptr; }
  /// Before it is started.
  void set_group(task_keeper& group) noexcept {
    group_ = &group;
    in_group_ = true;
  }

  /// The task has something to be cleared away.
  void note_extras() noexcept { extras_ = true; }

  /// Asks the task to end. Any thread; any number of times; does nothing once it has finished.
  void request_cancel(cancel_reason reason, std::uint64_t by) noexcept;

  void run() noexcept final;
  void fail(std::exception_ptr error) noexcept final;

  /// True when it was cancelled and its call, which has not ended, is on its own: its runtime may be gone.
  [[nodiscard]] bool abandoned() const noexcept {
    return settled_.load(std::memory_order_seq_cst) == settled::by_canceller;
  }

  /// The record was made but could not be started.
  void never_started() noexcept;

  /// The future that it makes ready.
  [[nodiscard]] virtual future_core& state() noexcept = 0;

  /// Asks all children of a group to end; on the loop of its origin.
  static void cancel_children(const task_keeper& group, cancel_reason reason, std::uint64_t by) noexcept;

  /// What the record is told on its origin's loop: adopt it, or forget it.
  void on_origin() noexcept;
  /// Runs the body on the calling agent, on the CPU pool or a blocking thread.
  void run_off_loop(agent& a) noexcept;
  /// Instead, when no stack or thread could be had.
  void fail_off_loop(std::exception_ptr error) noexcept;

 protected:
  /// Runs the closure, stores what it gives and destroys the closure.
  virtual void execute() = 0;
  /// Destroys a closure that will not run.
  virtual void discard() noexcept = 0;
  /// Publishes what execute() stored, or the error that comes instead.
  virtual void complete() noexcept = 0;
  virtual void complete_with(std::exception_ptr error, bool was_cancelled) noexcept = 0;
  /// Counts the record up or down by one holder.
  virtual void hold() noexcept = 0;
  virtual void release() noexcept = 0;

 private:
  friend class loop_core;
  friend class scope;
  friend class binding;
  friend struct cancel_message;
  friend class runtime_core;
  friend bool start_task(task_core&);
  friend bool start_task(task_core&, place);
  friend bool start_from_off_loops(task_core&, place);
  friend void start_in_group(task_core&, place);
  friend void start_elsewhere(task_core&, place, loop_core&) noexcept;
  friend void start_off_loop(task_core&, void (*)(task_core&));

  static void pass_on(scope& from, scope& to) noexcept;
  void begin(agent& a) noexcept;
  void end(agent& a) noexcept;
  void report_held_locks(agent& a) const noexcept;
  bool was_asked() noexcept;
  void execute_guarded() noexcept;
  void complete_unstarted(std::exception_ptr error) noexcept;
  void finished() noexcept;
  void tell_origin() noexcept;
  void end_off_loop() noexcept;
  bool settle(settled by) noexcept;
  void abandon(cancel_reason reason, std::uint64_t by) noexcept;
  bool ask(cancel_reason reason) noexcept;
  bool cancel_unless_here(cancel_reason reason, std::uint64_t by) noexcept;
  void wake_off_loop() noexcept;
  void forget() noexcept;
  void join_group(const agent* spawner) noexcept;
  void remember_parent(task_core* parent) noexcept;
  void forget_parent() noexcept;
  void ask_as_spawned(loop_core& here, agent* spawner) noexcept;
  void ask_as_spawned_by(agent* spawner) noexcept;
  void adopt_here(loop_core& here, agent* spawner) noexcept;
  void inherit(const agent* spawner) noexcept;
  void inherit_values(context_values* values) noexcept;
  void inherit_values_of_caller() noexcept;
  void take_options(std::string_view name, std::size_t bytes);
  task_extras& extras();
  scope_control* control_to_heed(agent* spawner);
  void heed(scope_control* c) noexcept;
  void end_extras() noexcept;
  void free_extras() noexcept;
  void link_under(scope& parent) noexcept;
  void unlink() noexcept;

  const flavour flavour_;
  // Of an abandonable call: the first of its thread and a canceller gives the outcome and ends the record; the thread
  // has a hold of its own, for it may be the last.
  std::atomic<settled> settled_{settled::not_yet};
  // Handshake between the spawner's loop, which adopts the record, and the end of the task on another thread:
  // whoever comes second does the work of both.
  std::atomic<stage> stage_{stage::created};
  bool linked_ = false;
  bool forgotten_ = false;  // the origin's
  bool to_steal_ = false;
  bool in_group_ = false;
  bool extras_ = false;                 // there is something to clear away that few tasks have
  std::uint8_t target_ = 0;             // 1 + the loop asked for, from off the loops
  std::atomic<std::uint8_t> asked_{0};  // 0, or 1 + the reason of the first request

 public:
  std::atomic<loop_core*> home{nullptr};
  loop_core* origin = nullptr;
  scope own;
  std::atomic<agent*> runs_on{nullptr};

 private:
  task_core* next_sibling_ = nullptr;
  task_core** previous_sibling_ = nullptr;
  // The group, for good. In no group: the parent, held from a spawn off the loops until the origin has heard of it.
  union {
    task_keeper* group_;
    task_core* adopter_ = nullptr;
  };
  std::uint64_t parent_ = 0;
  std::source_location site_;
  task_extras* few_ = nullptr;  // what few tasks have; goes with the record
  context_values* values_ = nullptr;
};

/// What waits for a worker of the CPU pool: a new task, or a stack whose wait has ended.
struct cpu_entry {
  cpu_entry* next_entry = nullptr;
  clock::time_point since{};  // when it was queued, if that was noted
  deadline start_by;
  cpu_priority rank = cpu_priority::normal;
  bool resumed = false;
};

class cpu_task : public task_core, public cpu_entry {
 public:
  using task_core::task_core;
};

class blocking_task : public task_core {
 public:
  using task_core::task_core;
};

/// Where the caller's context variables are kept; null where nobody keeps any.
context_values** values_of_caller() noexcept;

bool start_from_off_loops(task_core& task, place where);
void start_elsewhere(task_core& task, place where, loop_core& here) noexcept;
/// Hands a new record to the runtime. True when the task stays on the caller's loop. Throws no_runtime,
/// std::out_of_range (no such loop); then nothing was spawned.
bool start_task(task_core& task, place where);
/// The same for the caller's loop.
bool start_task(task_core& task);
/// The same for a task in a group.
void start_in_group(task_core& task, place where);

}  // namespace detail
}  // namespace weft
