#pragma once
// What the synchronisation primitives keep their state and their waiters in: exclusive access to a few words, for a few
// instructions, by agents of any loop and thread.
//
// Problem: a lock around them would have a loop wait, or spin, for a thread that was preempted while it held it.
// Solution: nobody waits to get in. Whoever finds the monitor free is inside; whoever finds it occupied leaves a
// request in its word, and who is inside carries that out before leaving. So the requester need not come back: a
// request to wait, carried out, leaves its author waiting. Model: tests/model/monitor.pml.
//
// Inside, no user code runs, and agents are woken only after leaving: from then on whoever was woken may destroy the
// primitive, for leaving is the last that is done to it.

#include <atomic>
#include <cstdint>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>

#include "weft/deadline.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

class monitor;

/// Something to be done inside. It lies with whoever asks, until it is carried out.
struct alignas(8) request {
  void (*carry_out)(request&) noexcept = nullptr;
  request* next_request = nullptr;
};

/// A request that an agent waits for; on its frame.
///
/// Who may touch what: the agent until the request is made, whoever is inside the monitor from then on, and the agent
/// again once it is woken, or has retracted it.
struct wait_entry : request {
  monitor* where = nullptr;
  waker who;
  bool shared = false;     ///< its wait may be ended by others at the same time (select)
  bool by_itself = false;  ///< carried out by the agent that waits
  bool granted = false;
  class wait_list* in = nullptr;
  wait_entry* next = nullptr;
  wait_entry* previous = nullptr;

  /// Decides its wait. False when that has ended otherwise: then it is to get nothing.
  [[nodiscard]] bool claim() noexcept { return shared ? who.claim() : who.claim_alone(); }
};

/// Who waits, oldest first.
class wait_list {
 public:
  [[nodiscard]] bool empty() const noexcept { return !first_; }
  [[nodiscard]] wait_entry* front() const noexcept { return first_; }
  void push_back(wait_entry& e) noexcept { insert(e, last_, nullptr); }
  void push_front(wait_entry& e) noexcept { insert(e, nullptr, first_); }
  void erase(wait_entry& e) noexcept {
    (e.previous ? e.previous->next : first_) = e.next;
    (e.next ? e.next->previous : last_) = e.previous;
    e.in = nullptr;
  }
  /// Takes out the oldest whose wait this call decides; null if there is none.
  [[nodiscard]] wait_entry* claim_front() noexcept {
    while (wait_entry* e = first_) {
      erase(*e);
      if (e->claim()) return e;
    }
    return nullptr;
  }

 private:
  void insert(wait_entry& e, wait_entry* before, wait_entry* after) noexcept {
    e.in = this;
    e.previous = before;
    e.next = after;
    (before ? before->next : first_) = &e;
    (after ? after->previous : last_) = &e;
  }
  wait_entry* first_ = nullptr;
  wait_entry* last_ = nullptr;
};

/// word_ holds: occupied; the primitive's marks; the newest request that was left.
///
/// Who may touch what:
///   word_   anybody.
///   the rest, and what the primitive guards by it: whoever is inside.
class monitor {
 public:
  constexpr monitor() noexcept = default;
  monitor(const monitor&) = delete;
  monitor& operator=(const monitor&) = delete;

 protected:
  using word = std::uintptr_t;
  /// For the primitive: kept in the word, so that they can be read, and while nobody is inside changed, from outside.
  static constexpr word mark = 2;
  static constexpr word second_mark = 4;

  ~monitor() = default;

  /// True when the caller is inside now, and must leave().
  [[nodiscard]] bool try_enter() noexcept {
    word w = word_.load(std::memory_order_relaxed);
    while (!(w & occupied))
      // acquire: pairs with leave(); what was done inside before is visible.
      if (word_.compare_exchange_weak(w, w | occupied, std::memory_order_acquire, std::memory_order_relaxed)) {
        marks_ = w & marks;
        return true;
      }
    return false;
  }
  /// The same; if it is occupied, leaves r there.
  [[nodiscard]] bool enter_or_leave(request& r) noexcept;
  void leave() noexcept {
    word w = word_.load(std::memory_order_relaxed);
    // release: pairs with whoever enters next. Fails when a request was left meanwhile.
    if ((w & ~low_bits) == 0 && !woken_ &&
        word_.compare_exchange_strong(w, marks_, std::memory_order_release, std::memory_order_relaxed))
      return;
    leave_slowly();
  }

  /// Carries r out, or leaves it. r must last until it was carried out.
  void perform(request& r) noexcept {
    if (!enter_or_leave(r)) return;
    r.carry_out(r);
    leave();
  }
  /// perform(), then waits until it was: for what must be known at once, and lets nothing in between. r.carry_out ends
  /// with grant(). Deaf to cancellation; where nothing can be suspended it lets other threads run.
  void perform_at_once(wait_entry& r) noexcept;
  /// Runs f inside, now or by whoever is inside. Never waits (unless there is no memory for a request).
  template <class F>
  void perform_soon(F f) noexcept {
    if (!try_enter()) {
      if (auto* r = new (std::nothrow) deferred<F>(f)) {
        perform(*r);
        return;
      }
      while (!try_enter()) std::this_thread::yield();
    }
    f();
    leave();
  }
  /// perform_at_once() for f, which gives the result.
  template <class F>
  std::invoke_result_t<F&> ask(F f) noexcept {
    using R = std::invoke_result_t<F&>;
    if (try_enter()) {
      const R result = f();
      leave();
      return result;
    }
    struct question : wait_entry {
      F* asked = nullptr;
      R result{};
    } q;
    q.asked = &f;
    q.where = this;
    q.carry_out = [](request& r) noexcept {
      auto& self = static_cast<question&>(r);
      self.result = (*self.asked)();
      self.where->grant_unclaimed(self);
    };
    perform_at_once(q);
    return q.result;
  }

  /// Waits until e, whose carry_out grants it or links it, was granted. `before` is called when e was performed.
  /// When the wait ends otherwise e is in no list any more.
  wake_reason wait(agent& me, wait_entry& e, wait_kind kind, deadline until = {}, bool deaf = false,
                   void (*before)(void*) = nullptr, void* argument = nullptr);
  /// Waits in `list` until the mark is set. False when the time was up first. A checkpoint; throws cancelled.
  bool wait_for_mark(wait_list& list, deadline until);
  /// The first half of wait(), for an entry whose wait was announced: true when it was granted at once.
  [[nodiscard]] bool begin(wait_entry& e) noexcept;
  /// Takes e out of its list after a wait that ended otherwise.
  void retract(wait_entry& e) noexcept;

  // --- inside ---

  /// e, claimed by the caller, has got what it waits for; its agent goes on after leave().
  void grant(wait_entry& e) noexcept {
    e.granted = true;
    wake(e);
  }
  /// The agent of e, claimed by the caller, goes on after leave().
  void wake(wait_entry& e) noexcept {
    if (e.by_itself) return;
    e.next = woken_;
    woken_ = &e;
  }
  /// Sets the mark, and lets all in `list` through.
  void set_mark(wait_list& list) noexcept {
    marks_ = mark;
    while (wait_entry* e = list.claim_front()) grant(*e);
  }
  void grant_unclaimed(wait_entry& e) noexcept {
    if (e.by_itself || e.claim()) grant(e);
  }

  std::atomic<word> word_{0};
  word marks_ = 0;  ///< the marks as leave() will write them

 private:
  friend struct select_access;
  static constexpr word occupied = 1;
  static constexpr word marks = mark | second_mark;
  static constexpr word low_bits = 7;

  template <class F>
  struct deferred final : request {
    explicit deferred(F what) noexcept : f(std::move(what)) {
      carry_out = [](request& r) noexcept {
        auto& self = static_cast<deferred&>(r);
        self.f();
        delete &self;
      };
    }
    F f;
  };

  void leave_slowly() noexcept;

  wait_entry* woken_ = nullptr;
};

/// For destructors: somebody still uses what is being destroyed. Prints what and ends the program.
[[noreturn]] void destroyed_in_use(const char* what, const void* which) noexcept;

}  // namespace weft::detail
