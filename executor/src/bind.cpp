#include "weft/bind.hpp"

#include <atomic>
#include <exception>

#include "cancellation.hpp"
#include "cpu_runner.hpp"
#include "weft/task.hpp"

namespace weft::detail {

/// What bind() saw. Counted, for oneTBB copies bodies as it likes; it keeps the task's record and the controls of its
/// scopes, so a body that runs too late finds a task that has ended, and no dead frame.
class binding {
 public:
  explicit binding(agent& who) : task_(who.task), until_(who.innermost->until()) {
    // Scopes that unwinding leaves are not there for what runs during it.
    if (static_cast<unsigned>(std::uncaught_exceptions()) <= who.innermost->uncaught()) {
      control_ = &control_of(*who.innermost, who);
      control_->hold();
    } else {
      until_ = deadline::never();
    }
    if (context_values** const values = values_of_caller(); values && *values) values_ = (*values)->share();
    task_->hold();
  }
  binding(const binding&) = delete;
  binding& operator=(const binding&) = delete;

  void hold() noexcept { holders_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  friend class bound_call;

  ~binding() {
    if (control_) control_->release();
    if (values_) values_->drop();
    task_->release();
  }

  std::atomic<std::uint32_t> holders_{1};
  task_core* const task_;
  deadline until_;
  scope_control* control_ = nullptr;
  context_values* values_ = nullptr;
};

// In a simulation a CPU task is a fiber and its algorithms run on its stack: they see it as they are.
binding_ref::binding_ref() : what_(nullptr) {
  agent* const who = current_agent();
  if (who && who->task && (who->what == agent::kind::cpu || who->what == agent::kind::body)) what_ = new binding(*who);
}
binding_ref::binding_ref(const binding_ref& other) noexcept : what_(other.what_) {
  if (what_) what_->hold();
}
binding_ref::~binding_ref() {
  if (what_) what_->release();
}

bound_call::bound_call(binding* what) {
  if (!what || !(who_ = own_body())) return;
  agent& me = *who_;
  task_ = std::exchange(me.task, what->task_);
  innermost_ = std::exchange(me.innermost, &base_);
  bound_values_ = std::exchange(me.bound_values, &values_);
  bound_in_ = std::exchange(me.bound_in, algorithm_context());
  me.task_id.store(me.task->id(), std::memory_order_relaxed);
  if (what->values_) values_ = what->values_->share();
  base_.mirror(me, what->until_, what->control_);
}

bound_call::~bound_call() {
  if (!who_) return;
  agent& me = *who_;
  me.task = task_;
  me.innermost = innermost_;
  me.bound_values = bound_values_;
  me.bound_in = bound_in_;
  me.task_id.store(task_ ? task_->id() : 0, std::memory_order_relaxed);
  if (values_) values_->drop();
}

}  // namespace weft::detail
