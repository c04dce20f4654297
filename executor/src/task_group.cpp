#include "weft/task_group.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "cancellation.hpp"
#include "runtime_core.hpp"
#include "scheduler.hpp"
#include "thread_agent.hpp"

namespace weft::detail {

namespace {

std::string made_at(const std::source_location& site) {
  return std::string("made at ") + site.file_name() + ":" + std::to_string(site.line());
}

// The runtime that the loop belongs to, if it still runs.
runtime_core* runtime_of(const visit& here, std::uint32_t token) noexcept {
  runtime_core* const rt = here.runtime();
  const std::size_t index = token & 0xff;
  return rt && index < rt->loops() && rt->loop(index).token() == token ? rt : nullptr;
}

}  // namespace

group_core::group_core(std::source_location site) : site_(site), owner_task_(current_task_id()) {
  agent& who = waiting_agent();
  const bool on_loop = who.what == agent::kind::fiber && !who.home->is_pool();
  const visit here;
  if (!on_loop && !who.task && !here.runtime()) throw no_runtime("a task_group");
  origin = on_loop ? who.home : who.task ? who.task->origin : &here.runtime()->any_loop();
  parent = on_loop ? &scope_ : who.task ? &who.task->own : &origin->root;
  token_ = origin->token();
  scope_.enter(who, {}, false);
  until = scope_.until();
}

group_core::~group_core() {
  if (!left_) {
    if (!owned_here()) {
      std::fprintf(stderr, "weft: a task_group %s is destroyed by another fiber, task or thread than made it\n",
                   made_at(site_).c_str());
      std::abort();
    }
    if (const auto children = pending_.load(std::memory_order_acquire) - (joining_ ? 0 : 1); children > 0) {
      const bool unwinding = static_cast<unsigned>(std::uncaught_exceptions()) > scope_.uncaught();
#ifndef NDEBUG
      if (!unwinding && !scope_.requested() && !cancel_requested())
        std::fprintf(stderr,
                     "weft: a task_group %s was left while %zu of its children ran, and cancels them; call join(), or "
                     "use with_group()\n",
                     made_at(site_).c_str(), children);
#endif
      cancel(unwinding ? cancel_reason::sibling_failed : cancel_reason::user, owner_task_);
    }
    if (!joining_) count_down();
    drained_.wait_shielded();
    scope_.leave();
  }
  drop_failed();
}

// --- counting ---

bool group_core::count_one() noexcept {
  auto pending = pending_.load(std::memory_order_relaxed);
  do {
    if (pending == 0) return false;
  } while (!pending_.compare_exchange_weak(pending, pending + 1, std::memory_order_acq_rel));
  return true;
}

// The last one touches nothing afterwards: the owner may have gone on.
void group_core::count_down() noexcept {
  if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) drained_.publish();
}

// --- children ---

void group_core::admit(task_core& task) {
  if (current_loop() != origin) {
    const visit here;
    if (!runtime_of(here, token_)) throw no_runtime("spawn() in a task_group of a runtime that has ended");
  }
  if (!count_one())
    throw std::logic_error("task_group: spawn() after join() in the group " + made_at(site_) + "; make another group");
  task.set_group(*this);
}

void group_core::start(task_core& task, place where) {
  if (where.what == place::how::detached)
    throw std::invalid_argument("task_group: a child cannot be detached; use weft::spawn(weft::detached, f)");
  admit(task);
  try {
    start_in_group(task, where);
  } catch (...) {
    count_down();
    throw;
  }
}

void group_core::start(task_core& task, void (*submit)(task_core&)) {
  admit(task);
  try {
    submit(task);
  } catch (...) {
    count_down();
    throw;
  }
}

void group_core::ended(task_core& child) noexcept {
  future_core& result = child.state();
  if (result.failed() && !result.was_cancelled()) {
    result.add_hold();  // for its error
    child.next = nullptr;
    (last_failed_ ? last_failed_->next : failed_) = &child;
    last_failed_ = &child;
    cancel(cancel_reason::sibling_failed, child.id());
  }
  count_down();
}

void group_core::drop_failed() noexcept {
  while (failed_) {
    auto& child = static_cast<task_core&>(*failed_);
    failed_ = child.next;
    child.state().drop_hold();  // an error that was not taken is reported now
  }
}

// --- cancellation ---

const scope* group_core::cancelled_by() const noexcept {
  if (scope_.requested()) return &scope_;
  if (parent != &scope_) {
    if (parent->requested()) return parent;
  } else {
    for (const scope* s = scope_.outer(); s && !s->is_shield(); s = s->outer())
      if (s->requested()) return s;
  }
  return origin->root.requested() ? &origin->root : nullptr;
}

void group_core::cancel(cancel_reason reason, std::uint64_t by) noexcept {
  if (!count_one()) return;
  scope_.mark(reason, by);
  if (called_off_.exchange(true, std::memory_order_acq_rel)) {
    count_down();
  } else if (current_loop() == origin) {
    pass_on();
    count_down();
  } else {
    // Counted like a spawn: the runtime must not end with the message under way.
    const visit here;
    runtime_core* const rt = runtime_of(here, token_);
    if (rt) rt->in_flight.fetch_add(1, std::memory_order_seq_cst);
    if (rt && (!rt->closing() || runs_for_weft())) {
      origin->post(this);
    } else {
      if (rt) rt->give_up_spawn();  // what is left is cancelled by the shutdown
      count_down();
    }
  }
}

// As a message.
void group_core::run() noexcept {
  pass_on();
  origin->runtime().in_flight.fetch_sub(1, std::memory_order_seq_cst);
  count_down();
}

// On the origin's loop, while the group is counted, so that its owner has not left it.
void group_core::pass_on() noexcept {
  if (scope_.owner()->what == agent::kind::fiber)
    scope_.pass_on_cancel(scope_.reason(), scope_.by());
  else
    wake_off_loop(*scope_.owner(), scope_, owner_task_);
  if (parent != &scope_) task_core::cancel_children(*this, scope_.reason(), scope_.by());
}

// --- joining ---

bool group_core::owned_here() const noexcept {
  return current_agent() == scope_.owner() && current_task_id() == owner_task_;
}

void group_core::throw_not_owner() const {
  const agent* const a = current_agent();
  const std::string who = a && a->task ? "task " + to_string(a->task->info()) : "a thread outside weft";
  if (a && a->task && a->task->group() == this)
    throw bad_wait(who + " joins the task_group that it is a child of, " + made_at(site_) +
                   ": it would wait for its own end");
  throw bad_wait(who + " joins a task_group " + made_at(site_) +
                 " by another fiber, task or thread: only that can join it");
}

bool group_core::is_around(std::uint64_t scope_id) const noexcept {
  for (const scope* s = scope_.outer(); s; s = s->outer())
    if (s->id() == scope_id) return true;
  return false;
}

void group_core::join(std::exception_ptr from_body) {
  if (!owned_here()) throw_not_owner();
  if (left_) return;
  std::exception_ptr own_error;
  std::exception_ptr called_off;  // by a scope around the group
  const auto ended_by = [&](std::exception_ptr error) {
    try {
      std::rethrow_exception(error);
    } catch (const weft::cancelled& c) {
      cancel(c.reason(), c.by());
      if (c.scope() == scope_.id()) return;
      (is_around(c.scope()) ? called_off : own_error) = std::move(error);
    } catch (...) {
      cancel(cancel_reason::sibling_failed, owner_task_);
      own_error = std::move(error);
    }
  };
  if (from_body) ended_by(std::move(from_body));
  if (!std::exchange(joining_, true)) count_down();
  try {
    drained_.wait({});
  } catch (const weft::cancelled&) {  // an agent that cannot wait here may join elsewhere
    ended_by(std::current_exception());
    drained_.wait_shielded();
  }
  left_ = true;
  scope_.leave();

  std::vector<std::exception_ptr> errors;
  if (own_error) errors.push_back(std::move(own_error));
  for (runnable* child = failed_; child; child = child->next) {
    auto error = static_cast<task_core*>(child)->state().take_error();
    // The owner may have thrown what it got from a child's future.
    if (std::find(errors.begin(), errors.end(), error) == errors.end()) errors.push_back(std::move(error));
  }
  drop_failed();
  exception_group::rethrow(std::move(errors));
  if (called_off) std::rethrow_exception(called_off);
}

}  // namespace weft::detail
