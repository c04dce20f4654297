#include "weft/task.hpp"

#include <cstdio>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <stop_token>

#include "cancellation.hpp"
#include "outbox.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"
#include "thread_agent.hpp"
#include "weft/error.hpp"
#include "weft/stack.hpp"

namespace weft {

std::string to_string(const task_info& task) {
  std::string text;
  if (!task.name.empty()) text = "\"" + task.name + "\" ";
  return text + "(#" + std::to_string(task.id) + "), spawned at " + task.site.file_name() + ":" +
         std::to_string(task.site.line());
}

namespace detail {

namespace {

// Ids of tasks spawned off the loops: the low byte is 255, which no loop uses.
std::uint64_t outside_id() noexcept {
  static std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed) << 8 | 255;
}

}  // namespace

namespace {

// The caller's loop; null off the loops.
loop_core* spawning_loop() noexcept {
  loop_core* here = current_loop();
  return here && here->is_pool() ? nullptr : here;
}

// The runtime, for a spawn from off the loops. The count keeps it from stopping before a loop has adopted the record.
// Dekker with close(): the count is raised before `closing` is read.
// That an abandonable call was not abandoned is read after that too: then its record, and the runtime, have not ended.
runtime_core& spawn_from_outside(const visit& here, const agent* spawner, const char* what) {
  const auto check_spawner = [&] {  // abandoned: the runtime that is there may be another
    if (spawner && spawner->task && spawner->task->abandoned())
      throw no_runtime(std::string(what) + " in a blocking call that was abandoned");
  };
  check_spawner();
  runtime_core* rt = here.runtime();
  if (!rt) throw no_runtime(what);
  rt->in_flight.fetch_add(1, std::memory_order_seq_cst);
  try {
    check_spawner();
  } catch (...) {
    rt->give_up_spawn();
    throw;
  }
  if (rt->closing() && !runs_for_weft()) {
    rt->give_up_spawn();
    throw no_runtime(std::string(what) + ", from outside it,");
  }
  return *rt;
}

}  // namespace

std::uint64_t current_task_id() noexcept {
  const agent* a = current_agent();
  return a && a->task ? a->task->id() : 0;
}

/// Cancels a task with a scope that it was spawned in.
struct cancels_task {
  task_core* task;
  const scope_control* in;
  void operator()() const noexcept {
    const auto [reason, by] = in->why();
    task->request_cancel(reason, by);
  }
};

/// What few tasks have. Who may touch what: the task's maker, then the task, but name, which anybody may read.
struct task_extras {
  std::string name;
  std::optional<std::stop_callback<cancels_task>> heeds;
};

// --- a record's beginning ---

// From the constructor: what it has made when it throws, no destructor sees.
[[gnu::cold, gnu::noinline]] void task_core::take_options(std::string_view name, std::size_t bytes) {
  if (bytes != 0) {
    if (bytes < min_stack_size || bytes > max_stack_size)
      throw std::invalid_argument("task_options.stack_size is " + std::to_string(bytes) +
                                  " bytes; it must be between " + std::to_string(min_stack_size) + " and " +
                                  std::to_string(max_stack_size));
    stack_size = static_cast<std::uint32_t>(round_to_pages(bytes));
  }
  if (name.empty()) return;
  std::string kept(name);
  extras().name = std::move(kept);
}

[[gnu::cold, gnu::noinline]] void task_core::free_extras() noexcept {
  end_extras();
  if (scope_control* const c = own.control()) c->release();
  delete few_;
}

// At the end of the body, before anybody can see the result.
[[gnu::cold, gnu::noinline]] void task_core::end_extras() noexcept {
  if (scope_control* const c = own.control()) c->leave();
  if (few_) few_->heeds.reset();
  if (context_values* const values = std::exchange(values_, nullptr)) values->drop();
}

task_info task_core::info() const { return {id(), parent_, few_ ? few_->name : "", site_}; }

task_extras& task_core::extras() {
  if (!few_) few_ = new task_extras;
  extras_ = true;
  return *few_;
}

// Off the loops a task is a child of its parent, and of no scope in that. So it follows the controls of those: what
// others can cancel has one. (A deadline it has inherited.)
scope_control* task_core::control_to_heed(agent* spawner) {
  scope_control* const c = spawner && spawner->task ? control_in_force(*spawner) : nullptr;
  if (!c || c == spawner->task->own.control()) return nullptr;
  extras();                                           // now, while it may throw
  return &control_of(*spawner->innermost, *spawner);  // linked with those around it
}
void task_core::heed(scope_control* c) noexcept {
  if (c) few_->heeds.emplace(c->token(), cancels_task{this, c});
}

void task_core::inherit(const agent* spawner) noexcept {
  if (!spawner) return;
  if (spawner->task) parent_ = spawner->task->id();
  if (spawner->innermost) own.until_ = spawner->innermost->until();
}

inline void task_core::inherit_values(context_values* values) noexcept {
  if (rarely(values != nullptr)) {
    values_ = values->share();
    extras_ = true;
  }
}

void task_core::inherit_values_of_caller() noexcept {
  context_values** const values = values_of_caller();
  if (values) inherit_values(*values);
}

void task_core::never_started() noexcept {
  discard();
  if (flavour_ == flavour::abandonable) release();  // the thread's hold
  release();                                        // the producer's hold; the handle goes with the future
}

void task_core::link_under(scope& parent) noexcept {
  next_sibling_ = parent.children;
  previous_sibling_ = &parent.children;
  if (parent.children) parent.children->previous_sibling_ = &next_sibling_;
  parent.children = this;
  linked_ = true;
  ++origin->linked;
}

void task_core::unlink() noexcept {
  *previous_sibling_ = next_sibling_;
  if (next_sibling_) next_sibling_->previous_sibling_ = previous_sibling_;
  linked_ = false;
  --origin->linked;
}

void task_core::pass_on(scope& from, scope& to) noexcept {
  task_core* first = std::exchange(from.children, nullptr);
  if (!first) return;
  task_core* last = first;
  while (last->next_sibling_) last = last->next_sibling_;
  last->next_sibling_ = to.children;
  if (to.children) to.children->previous_sibling_ = &last->next_sibling_;
  to.children = first;
  first->previous_sibling_ = &to.children;
  if (to.requested()) to.pass_on_cancel(to.reason(), to.by());
}

namespace {

[[noreturn, gnu::cold]] void throw_no_such_loop(unsigned index, std::size_t loops) {
  throw std::out_of_range("on_loop(" + std::to_string(index) + "): this runtime has " + std::to_string(loops) +
                          " loops");
}

void check_place(place where, const loop_core& here) {
  if (where.what == place::how::on_loop && where.index >= here.runtime().loops()) [[unlikely]]
    throw_no_such_loop(where.index, here.runtime().loops());
}

}  // namespace

// Spawned on a loop, by an agent there or (null) under no scope.
[[gnu::always_inline]] inline void task_core::adopt_here(loop_core& here, agent* spawner) noexcept {
  origin = &here;
  own.id_ = here.next_id();
  stage_.store(stage::adopted, std::memory_order_relaxed);
  scope* parent = &here.root;
  if (spawner) {
    inherit(spawner);
    if (spawner->task) inherit_values(spawner->task->values_);
    if (spawner->innermost) parent = spawner->innermost;
  }
  link_under(*parent);
  if (rarely(here.root.requested()) || rarely(spawner && spawner->hint.load(std::memory_order_relaxed)))
    ask_as_spawned(here, parent == &here.root ? nullptr : spawner);
}

// The common case has a function of its own, small enough to be fast; the thread-locals are read directly, for nothing
// here waits.
bool start_task(task_core& task) {
  loop_core* const here = tl_loop;
  if (rarely(!here) || rarely(here->is_pool())) return start_from_off_loops(task, {});
  task.adopt_here(*here, tl_agent);
  task.home.store(here, std::memory_order_relaxed);
  here->ready(&task);
  return true;
}

bool start_task(task_core& task, place where) {
  loop_core* const here = tl_loop;
  if (!here || here->is_pool()) return start_from_off_loops(task, where);
  check_place(where, *here);
  if (where.apart()) task.inherit_values_of_caller();
  task.adopt_here(*here, where.apart() ? nullptr : tl_agent);
  if (where.what == place::how::here || where.what == place::how::detached) {
    task.home.store(here, std::memory_order_relaxed);
    here->ready(&task);
    return true;
  }
  start_elsewhere(task, where, *here);
  return where.what == place::how::on_loop && where.index == here->index();
}

// A child of a group: its record is kept where those of the others are.
void start_in_group(task_core& task, place where) {
  agent* const spawner = current_agent();
  loop_core* const here = spawning_loop();
  if (where.what == place::how::here) {
    loop_core* const at = here ? here : spawner && spawner->task ? spawner->task->origin : nullptr;
    if (at) where = {place::how::on_loop, at->index()};
  }
  if (here != task.group()->origin) {
    start_from_off_loops(task, where);
    return;
  }
  check_place(where, *here);
  task.inherit_values_of_caller();
  task.own.id_ = here->next_id();
  task.stage_.store(task_core::stage::adopted, std::memory_order_relaxed);
  task.join_group(spawner);
  task.link_under(*task.group()->parent);
  if (const scope* s = task.group()->cancelled_by()) task.ask(s->reason());
  start_elsewhere(task, where, *here);
}

void task_core::join_group(const agent* spawner) noexcept {
  inherit(spawner);
  own.until_ = group_->until;
  origin = group_->origin;
}

void task_core::cancel_children(const task_keeper& group, cancel_reason reason, std::uint64_t by) noexcept {
  for (task_core* child = group.parent->children; child; child = child->next_sibling_)
    if (child->group() == &group) child->request_cancel(reason, by);
}

// Spawned inside a scope that is cancelled already, or while the runtime ends: it is never to start.
void task_core::ask_as_spawned(loop_core& here, agent* spawner) noexcept {
  if (here.root.requested())
    ask(cancel_reason::shutdown);
  else if (const scope* s = spawner ? cancelled_scope(*spawner) : nullptr)
    ask(s->reason());
}

// Off the loops: see control_to_heed() for what is cancelled later.
void task_core::ask_as_spawned_by(agent* spawner) noexcept {
  if (const scope* s = spawner ? cancelled_scope(*spawner) : nullptr) ask(s->reason());
}

void start_elsewhere(task_core& task, place where, loop_core& here) noexcept {
  if (where.any()) {
    here.offer(&task);
  } else if (where.index != here.index()) {
    here.runtime().loop(where.index).post(&task);
  } else {
    task.home.store(&here, std::memory_order_relaxed);
    here.ready(&task);
  }
}

// From a CPU task, a blocking call or a thread outside: a loop must adopt the record.
bool start_from_off_loops(task_core& task, place where) {
  agent* const spawner = current_agent();
  scope_control* const heeded = task.group() || where.apart() ? nullptr : task.control_to_heed(spawner);
  const visit guest;
  runtime_core* const rt = &spawn_from_outside(guest, spawner, "spawn()");
  if (where.what == place::how::on_loop && where.index >= rt->loops()) {
    rt->give_up_spawn();
    throw_no_such_loop(where.index, rt->loops());
  }
  task_core* const parent = spawner ? spawner->task : nullptr;
  task.inherit_values_of_caller();
  task.own.id_ = outside_id();
  if (where.what == place::how::on_loop)
    task.target_ = static_cast<std::uint8_t>(where.index + 1);
  else
    task.to_steal_ = !parent || where.any();
  if (task.group()) {
    task.join_group(spawner);
  } else {
    if (!where.apart()) {
      task.inherit(spawner);
      task.ask_as_spawned_by(spawner);
      task.remember_parent(parent);
    }
    task.origin = parent                              ? parent->origin
                  : where.what == place::how::on_loop ? &rt->loop(where.index)
                                                      : &rt->any_loop();
  }
  task.how = runnable::kind::call;
  task.heed(heeded);
  task.origin->post(&task);
  return false;
}

void runtime_core::start_main(task_core& task) {
  loop_core& first = *loops_[0];
  task.inherit_values_of_caller();
  task.origin = &first;
  task.own.id_ = first.next_id();
  task.stage_.store(task_core::stage::adopted, std::memory_order_relaxed);
  task.home.store(&first, std::memory_order_relaxed);
  task.link_under(first.root);
  first.ready(&task);
}

void start_off_loop(task_core& task, void (*submit)(task_core&)) {
  agent* const spawner = current_agent();
  task.inherit_values_of_caller();
  if (loop_core* here = spawning_loop(); here && (!task.group() || task.group()->origin == here)) {
    task.own.id_ = here->next_id();
    task.stage_.store(task_core::stage::adopted, std::memory_order_relaxed);
    if (task.group()) {
      task.join_group(spawner);
      task.link_under(*task.group()->parent);
      if (const scope* s = task.group()->cancelled_by()) task.ask(s->reason());
    } else {
      task.origin = here;
      task.inherit(spawner);
      task.link_under(spawner && spawner->innermost ? *spawner->innermost : here->root);
      task.ask_as_spawned_by(spawner);
    }
    try {
      submit(task);
    } catch (...) {
      task.unlink();
      throw;
    }
    return;
  }
  scope_control* const heeded = task.group() ? nullptr : task.control_to_heed(spawner);
  const visit here;
  runtime_core* const rt = &spawn_from_outside(here, spawner, "spawn_cpu() or spawn_blocking()");
  task_core* const parent = spawner ? spawner->task : nullptr;
  task.own.id_ = outside_id();
  if (task.group()) {
    task.join_group(spawner);
  } else {
    task.inherit(spawner);
    task.ask_as_spawned_by(spawner);
    task.remember_parent(parent);
    task.origin = parent ? parent->origin : &rt->any_loop();
  }
  task.how = runnable::kind::call;
  task.hold();  // until the origin has heard of it; the task may have ended by then
  loop_core& origin = *task.origin;
  task.heed(heeded);
  try {
    submit(task);
  } catch (...) {
    rt->give_up_spawn();
    task.forget_parent();
    task.release();
    throw;
  }
  origin.post(&task);
}

// The parent may end, and be forgotten by the origin, before the origin hears of this child.
void task_core::remember_parent(task_core* parent) noexcept {
  if (parent) parent->hold();
  adopter_ = parent;
}
void task_core::forget_parent() noexcept {
  if (in_group_) return;
  if (task_core* const parent = std::exchange(adopter_, nullptr)) parent->release();
}

// On the origin's loop, by message: first to adopt the record, last to forget it. A task off the loops may end before
// it was adopted; then one message does for both.
void task_core::on_origin() noexcept {
  auto expected = stage::created;
  if (stage_.compare_exchange_strong(expected, stage::adopted, std::memory_order_acq_rel)) {
    runtime_core& rt = origin->runtime();
    task_core* const adopter = in_group_ ? nullptr : adopter_;
    link_under(in_group_ ? *group_->parent : adopter && !adopter->forgotten_ ? adopter->own : origin->root);
    if (rt.closing()) rt.note_busy(*origin, true);
    rt.in_flight.fetch_sub(1, std::memory_order_seq_cst);
    // Cancellation that came while the record was on its way.
    const scope* const late = in_group_ ? group_->cancelled_by() : adopter ? &adopter->own : nullptr;
    if (rt.closing())
      request_cancel(cancel_reason::shutdown, 0);
    else if (late && late->requested())
      request_cancel(late->reason(), late->by());
    forget_parent();
    if (flavour_ == flavour::fiber) {
      how = kind::start;
      if (target_ != 0 && target_ - 1U != origin->index()) {
        rt.loop(target_ - 1U).post(this);
      } else if (to_steal_) {
        origin->offer(this);
      } else {
        home.store(origin, std::memory_order_relaxed);
        origin->ready(this);
      }
    } else {
      release();  // of start_off_loop()
    }
    return;
  }
  // A fiber has passed its children on by itself; its home may be reading the empty list, for a late cancellation.
  // A task that has ended before it was adopted may have children already: their messages came first.
  if (flavour_ != flavour::fiber) pass_on(own, origin->root);
  forgotten_ = true;
  forget_parent();
  if (linked_) {
    unlink();
  } else {
    origin->runtime().in_flight.fetch_sub(1, std::memory_order_seq_cst);
    release();  // of start_off_loop()
  }
  forget();
}

void task_core::forget() noexcept {
  if (in_group_) group_->ended(*this);
  release();
}

// --- running ---

[[gnu::always_inline]] inline void task_core::begin(agent& a) noexcept {
  a.task = this;
  a.innermost = &own;
  a.hint.store(false, std::memory_order_relaxed);
  a.shields = 0;
  a.turn = 0;
  a.parent_id.store(parent_, std::memory_order_relaxed);
  const void* site = nullptr;
  std::memcpy(static_cast<void*>(&site), static_cast<const void*>(&site_), sizeof(site));
  a.site.store(site, std::memory_order_relaxed);
  if (rarely(few_ != nullptr)) {
    const char* const name = few_->name.c_str();
    for (std::size_t i = 0; i < std::size(a.name); ++i) {
      a.name[i].store(name[i], std::memory_order_relaxed);
      if (name[i] == '\0') break;
    }
  } else {
    a.name[0].store('\0', std::memory_order_relaxed);
  }
  a.task_id.store(id(), std::memory_order_release);
}

// Nobody can unlock them any more.
[[gnu::cold]] void task_core::report_held_locks(agent& a) const noexcept {
  for (auto& lock : a.held)
    if (const void* which = lock.exchange(nullptr, std::memory_order_relaxed))
      std::fprintf(stderr, "weft: task %s has ended while it holds the mutex at %p\n", to_string(info()).c_str(),
                   which);
  a.locks = 0;
}

void task_core::end(agent& a) noexcept {
  if (rarely(a.locks != 0)) report_held_locks(a);
  a.task_id.store(0, std::memory_order_release);
  a.task = nullptr;
  a.innermost = nullptr;
}

// Before it started.
bool task_core::was_asked() noexcept {
  const auto asked = asked_.load(std::memory_order_seq_cst);
  if (asked != 0) own.mark(static_cast<cancel_reason>(asked - 1), own.by());
  return asked != 0;
}

void task_core::execute_guarded() noexcept {
  std::exception_ptr error;
  bool was_cancelled = false;
  if (rarely(was_asked())) {
    discard();
    was_cancelled = true;
  } else if (flavour_ != flavour::fiber && own.until().passed()) {
    own.mark(cancel_reason::deadline, 0);
    discard();
    was_cancelled = true;
  } else {
    try {
      execute();
    } catch (const cancelled& c) {
      if (c.scope() == own.id() && flavour_ != flavour::fiber) own.look();  // a bound body may have seen it first
      was_cancelled = c.scope() == own.id() && own.requested();
      error = std::current_exception();
    } catch (...) {
      error = std::current_exception();
    }
    // A CPU task that was cancelled may have had its algorithms cut short: what it gives is not to be trusted.
    if (!error && flavour_ == flavour::cpu) {
      if (own.control() && own.control()->asked()) own.control()->mark(own);
      was_cancelled = own.requested();
    }
  }
  if (rarely(extras_)) {
    end_extras();
    if (!settle(settled::by_thread)) return;
  }
  if (rarely(was_cancelled) && !error) error = std::make_exception_ptr(cancelled(own.reason(), own.id(), own.by()));
  if (rarely(error != nullptr))
    complete_with(std::move(error), was_cancelled);
  else
    complete();
}

// A fiber's body, or a message to the origin.
void task_core::run() noexcept {
  if (how == kind::call) [[unlikely]] {
    on_origin();
    return;
  }
  agent& a = *tl_agent;
  if (home.load(std::memory_order_relaxed) == nullptr) {
    // It could have started elsewhere. Dekker with ask(): home is written before `asked_` is read.
    home.store(a.home, std::memory_order_seq_cst);
  }
  begin(a);
  own.owner_ = &a;
  execute_guarded();
  own.owner_ = nullptr;
  end(a);
  finished();
}

void task_core::run_off_loop(agent& a) noexcept {
  begin(a);
  runs_on.store(&a, std::memory_order_seq_cst);
  execute_guarded();
  runs_on.store(nullptr, std::memory_order_seq_cst);
  end(a);
  end_off_loop();
}

void task_core::end_off_loop() noexcept {
  const bool held = flavour_ == flavour::abandonable;  // by the thread; else the record may go in finished()
  if (!abandoned()) finished();
  if (held) release();
}

// True for the one who gives the outcome and ends the record.
bool task_core::settle(settled by) noexcept {
  auto nobody = settled::not_yet;
  return flavour_ != flavour::abandonable || settled_.compare_exchange_strong(nobody, by, std::memory_order_seq_cst);
}

// The canceller's half: the future is there at once, the thread goes on alone.
void task_core::abandon(cancel_reason reason, std::uint64_t by) noexcept {
  if (!settle(settled::by_canceller)) return;
  complete_with(std::make_exception_ptr(cancelled(reason, id(), by)), true);
  finished();
}

// One that was cancelled ends so: nobody wants to know why else it did not start.
void task_core::complete_unstarted(std::exception_ptr error) noexcept {
  const bool was_cancelled = was_asked();
  if (was_cancelled) error = std::make_exception_ptr(cancelled(own.reason(), own.id(), own.by()));
  complete_with(std::move(error), was_cancelled);
}

void task_core::fail(std::exception_ptr error) noexcept {
  home.store(tl_loop, std::memory_order_relaxed);
  discard();
  complete_unstarted(std::move(error));
  finished();
}

void task_core::fail_off_loop(std::exception_ptr error) noexcept {
  discard();
  if (settle(settled::by_thread)) complete_unstarted(std::move(error));
  end_off_loop();
}

void task_core::finished() noexcept {
  if (flavour_ == flavour::fiber) [[likely]] {
    loop_core* const here = home.load(std::memory_order_relaxed);
    if (own.children) [[unlikely]]
      pass_on(own, here->root);
    if (origin == here) [[likely]] {
      unlink();
      forget();
      return;
    }
  }
  tell_origin();
}

// (Not in line, for a CPU task has come to its end on any thread.)
[[gnu::noinline]] void task_core::tell_origin() noexcept {
  loop_core* const back = origin;
  // Not adopted yet: the message that adopts it is still under way, and does the rest.
  if (stage_.exchange(stage::finished, std::memory_order_acq_rel) != stage::adopted) {
    tl_outbox.send();
    return;
  }
  how = kind::call;
  tl_outbox.send_with(*back, this);
}

// --- cancellation ---

// True for the first who asks.
bool task_core::ask(cancel_reason reason) noexcept {
  std::uint8_t nobody = 0;
  if (asked_.load(std::memory_order_relaxed) != 0) return false;
  return asked_.compare_exchange_strong(nobody, static_cast<std::uint8_t>(1 + static_cast<int>(reason)),
                                        std::memory_order_seq_cst);
}

struct cancel_message final : message {
  cancel_message(task_core& t, cancel_reason why, std::uint64_t who) noexcept : task(t), reason(why), by(who) {
    task.hold();
  }
  void run() noexcept override {
    if (task.flavour_ == task_core::flavour::fiber)
      task.own.cancel_here(reason, by);
    else
      task.own.pass_on_cancel(reason, by);
    task.release();
    delete this;
  }
  task_core& task;
  const cancel_reason reason;
  const std::uint64_t by;
};

// Asks it to end. True when the caller, on a loop, is to mark it and its children itself.
bool task_core::cancel_unless_here(cancel_reason reason, std::uint64_t by) noexcept {
  if (!ask(reason)) return false;
  if (flavour_ == flavour::fiber) {
    loop_core* const at = home.load(std::memory_order_seq_cst);
    if (!at) return false;  // it has not started, and will see that it was asked
    if (at == current_loop()) return true;
    at->post(new cancel_message(*this, reason, by));
    return false;
  }
  own.mark(reason, by);
  wake_off_loop();
  if (stage_.load(std::memory_order_acquire) == stage::adopted) origin->post(new cancel_message(*this, reason, by));
  if (flavour_ == flavour::abandonable) abandon(reason, by);
  return false;
}

void task_core::request_cancel(cancel_reason reason, std::uint64_t by) noexcept {
  if (stage_.load(std::memory_order_relaxed) == stage::finished) return;
  if (cancel_unless_here(reason, by)) own.cancel_here(reason, by);
}

void task_core::wake_off_loop() noexcept {
  if (agent* const a = runs_on.load(std::memory_order_seq_cst)) detail::wake_off_loop(*a, own, id());
}

}  // namespace detail
}  // namespace weft
