#pragma once
// What the synchronisation primitives keep their state and their waiters in: exclusive access to a few words, for a few
// instructions, by agents of any loop and thread.
//
// Problem: a lock around them would have a loop wait, or spin, for a thread that was preempted while it held it.
// Solution: nobody waits to get in. Whoever finds the monitor free is inside; whoever finds it occupied leaves a
// request in its word, and who is inside carries that out before leaving. So the requester need not come back: a
// request to wait, carried out, leaves its author waiting. Model: tests/model/monitor.pml.
//
// One that a single loop uses again and again becomes that loop's own: the loop then enters and leaves with plain loads
// and stores. Whoever else comes takes that away first, for the price of a membarrier(2), and becomes who is inside, or
// finds the loop inside, which then goes on as anybody who is. (Biased locking, after Russell and Detlefs, 2006, with
// the asymmetric fence of Dice, Huang and Yang, 2001.) Models: tests/model/bias.pml, tests/model/rehome.pml.
//
// Inside, no user code runs, and agents are woken only after leaving: from then on whoever was woken may destroy the
// primitive, for leaving is the last that is done to it.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <thread>
#include <type_traits>
#include <utility>

#include "weft/deadline.hpp"
#include "weft/departure.hpp"
#include "weft/gate.hpp"
#include "weft/rarely.hpp"
#include "weft/wait_list.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

/// word_ holds: occupied; the primitive's marks; the newest request that was left. While the monitor is a loop's own:
/// occupied, `own` and that loop's gate, for as long. While it is being taken away: the two with `mark`, and requests.
/// In both the marks are in shown_. The loop that is at home changes them there alone; who may be inside for longer, or
/// be joined by requests, takes them over into marks_ first.
///
/// To show a mark, in the word or in shown_, is the last that is done to the monitor: whoever sees it may have been let
/// through, and destroy it. Model: tests/model/shown.pml.
///
/// Who may touch what:
///   word_   anybody.
///   shown_  written by the loop whose own it is, and before it becomes that; read by anybody while it is.
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

  /// The marks, from outside.
  [[nodiscard]] word look() const noexcept {
    // acquire: pairs with leave(), here and below.
    word w = word_.load(std::memory_order_acquire);
    while (w & own) {
      const word m = shown_.load(std::memory_order_acquire);
      // Since the word was read the monitor may have been taken away and be about to become a loop's own again, by
      // somebody who has shown the marks already, and is inside still.
      const word now = word_.load(std::memory_order_acquire);
      if (now == w) return m;
      w = now;
    }
    return w & every_mark;
  }
  /// True when the marks are m, nobody is inside who might change them, and it is no loop's own.
  [[nodiscard]] bool settled_at(word m) const noexcept { return word_.load(std::memory_order_acquire) == m; }
  /// True when the mark is set, and nobody has been asked to change that: who is inside another loop's, or one that is
  /// nobody's, may have been, by the caller itself.
  [[nodiscard]] bool is_settled_with_mark() const noexcept {
    const word w = word_.load(std::memory_order_acquire);
    if (!(w & occupied)) return w & mark;
    // As in look().
    return is_own(w) && (shown_.load(std::memory_order_acquire) & mark) && word_.load(std::memory_order_acquire) == w;
  }

  /// Whether that word is of one that is a loop's own: then enter_own() first.
  [[nodiscard]] static constexpr bool is_own(word w) noexcept { return (w & (own | mark)) == own; }
  /// True when the caller is inside now, and must leave().
  [[nodiscard]] bool try_enter() noexcept {
    for (word w = word_.load(std::memory_order_relaxed);;) {
      if (is_own(w)) {
        if (enter_own() || take_over()) return true;
        w = word_.load(std::memory_order_relaxed);
      } else if (w & occupied) {
        return false;
      } else if (enter_at(w)) {
        return true;
      }
    }
  }
  /// The same, where it is the calling loop's own and the loop is inside nothing else. Never true off the loops:
  /// threads outside share a gate, in which nobody may be seen, and which is nobody's home.
  [[nodiscard]] bool enter_own() noexcept {
    if (!enter_own_lightly()) return false;
    take_marks();
    return true;
  }
  /// The same without take_marks().
  [[nodiscard]] bool enter_own_lightly() noexcept {
    gate& g = *tl_gate;
    if (!is_at_home(g)) return false;
    if (goes_in(g)) return true;
    leave_gate(g);
    return false;
  }
  // Its halves, for who must not have a call in the way. g: the calling thread's.
  /// True when the caller may call goes_in(). If that says true, shown() has told the marks in between.
  [[nodiscard, gnu::always_inline]] bool is_at_home(const gate& g) const noexcept {
    return !rarely(word_.load(std::memory_order_relaxed) != own_of(g)) &&
           !rarely(g.inside.load(std::memory_order_relaxed) != nullptr);
  }
  /// True when the caller is inside now, without take_marks(). Else leave_gate(g) must follow, at once.
  [[nodiscard, gnu::always_inline]] bool goes_in(gate& g) noexcept {
    // Dekker with take_over(), whose half of the fences this one's has, too: inside first, then the word. That it is a
    // loop's own does not do: since is_at_home() it may have become another's. Model: tests/model/rehome.pml.
    g.inside.store(this, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    // acquire: pairs with leave_slowly().
    return word_.load(std::memory_order_acquire) == own_of(g);
  }
  /// The same; if it is occupied, leaves r there.
  [[nodiscard]] bool enter_or_leave(request& r) noexcept;
  void leave() noexcept {
    gate& g = *tl_gate;
    if (g.inside.load(std::memory_order_relaxed) == this) {
      if (woken_) {
        leave_own(g);
      } else {
        leave_as_own(g, marks_);
      }
      return;
    }
    word w = word_.load(std::memory_order_relaxed);
    // release: pairs with whoever enters next. Fails when a request was left meanwhile.
    if ((w & ~low_bits) == 0 && !woken_ && !ripe_ &&
        word_.compare_exchange_strong(w, marks_, std::memory_order_release, std::memory_order_relaxed))
      return;
    leave_slowly();
  }

  /// The same after enter_own(), where nobody was woken; m are the marks from now on. True, so that it can be the last
  /// call of who says true.
  [[gnu::always_inline]] bool leave_as_own(gate& g, word m) noexcept {
    show(m);
    return !leaves_debts(g) || release_owed();
  }
  /// The first half of leave_as_own(); leaves_debts() follows, at once.
  [[gnu::always_inline]] void show(word m) noexcept { shown_.store(narrow(m), std::memory_order_release); }
  static void leave_gate(gate& g) noexcept {
    if (leaves_debts(g)) release_owed();
  }
  /// True when release_owed() must follow, at once.
  [[nodiscard, gnu::always_inline]] static bool leaves_debts(gate& g) noexcept {
    g.inside.store(nullptr, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return rarely(g.owed.load(std::memory_order_relaxed) != nullptr);
  }
  static bool release_owed() noexcept;
  /// The marks, by the calling loop, where it is at home.
  [[nodiscard]] word shown() const noexcept { return shown_.load(std::memory_order_relaxed); }
  /// Inside, of one that is a loop's own: marks() and leave() may be used from now on.
  void take_marks() noexcept { marks_ = shown_.load(std::memory_order_relaxed); }

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
  bool wait_for_mark(wait_list& list, deadline until) {
    mark_wait w;
    w.list = &list;
    if (const departure away = begin_to_wait(w, until); away.to) {
      away.take();
      has_waited(w);
    }
    return w.granted;
  }
  /// Sets the mark and lets all in `list` through, or takes it away, where this is the calling loop's own. False where
  /// it is not; then nothing has been done.
  [[nodiscard]] bool set_mark_at_home(wait_list& list) noexcept;
  [[nodiscard]] bool clear_mark_at_home() noexcept;
  /// The first half of wait(), for an entry whose wait was announced: true when it was granted at once.
  [[nodiscard]] bool begin(wait_entry& e) noexcept;
  /// Takes e out of its list after a wait that ended otherwise.
  void retract(wait_entry& e) noexcept;

  // --- inside ---

  /// The marks as leave() will show them.
  [[nodiscard]] word marks() const noexcept { return marks_; }
  void set_marks(word m) noexcept { marks_ = narrow(m); }
  /// How often the same loop must come, and nobody else, before it is made its own; 0 when that never happens any more.
  [[nodiscard]] std::uint8_t patience() const noexcept { return patience_; }
  /// The calling loop has come often enough.
  void ripen() noexcept {
    gate* const g = gate_of_loop();
    if (!g || patience_ == 0) return;
    user_ = g;
    ripe_ = true;
  }

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
    set_marks(mark);
    while (wait_entry* e = list.claim_front()) grant(*e);
  }
  void grant_unclaimed(wait_entry& e) noexcept {
    if (e.by_itself || e.claim()) grant(e);
  }

  std::atomic<word> word_{0};

 private:
  friend struct select_access;
  /// A wait for the mark; on a frame.
  struct mark_wait : wait_entry {
    wait_list* list;
    time_limit* limit = nullptr;
    alignas(std::uint64_t) std::byte room[room_of_time_limit];  ///< for that
  };
  departure begin_to_wait(mark_wait& w, deadline until);
  void has_waited(mark_wait& w);
  void has_waited_in_time(mark_wait& w);
  void give_up(mark_wait& w, wake_reason how);
  departure link_and_depart(mark_wait& w, deadline until);
  departure depart_in_time(mark_wait& w, deadline until);
  departure depart(mark_wait& w);
  departure depart_slowly(mark_wait& w);
  departure is_back_already(mark_wait& w);
  departure waited_after_checkpoint(mark_wait& w, deadline until);
  departure waited_slowly(mark_wait& w, deadline until);
  departure waited_from_outside(mark_wait& w, deadline until);
  static void carry_out_wait(request& r) noexcept;

  static constexpr word occupied = 1;
  static constexpr word every_mark = mark | second_mark;
  static constexpr word own = 8;
  static constexpr word low_bits = 15;
  static constexpr std::uint8_t first_patience = 16;
  static constexpr std::uint8_t last_patience = 128;

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

  /// The word while it is g's loop's own, and is not being taken away.
  [[nodiscard]] static word own_of(const gate& g) noexcept { return reinterpret_cast<word>(&g) | own | occupied; }
  // Where nobody is inside, and w is the word.
  [[nodiscard]] bool enter_at(word& w) noexcept {
    // acquire: pairs with leave(); what was done inside before is visible.
    if (!word_.compare_exchange_weak(w, w | occupied, std::memory_order_acquire, std::memory_order_relaxed))
      return false;
    marks_ = narrow(w & every_mark);
    gate* const g = gate_of_loop();
    if (!g || user_ != g) {
      user_ = g;
      uses_ = 0;
      ripe_ = false;
    } else if (patience_ != 0 && ++uses_ == patience_) {
      ripe_ = true;
    }
    return true;
  }
  static void resume_all(wait_entry* newest) noexcept;
  [[nodiscard]] bool take_over() noexcept;
  void is_nobodys() noexcept;
  void leave_own(gate& g) noexcept;
  void leave_slowly() noexcept;

  static constexpr std::uint32_t narrow(word m) noexcept { return static_cast<std::uint32_t>(m); }

  // Small, so that a primitive has room beside it on the same cache line.
  wait_entry* woken_ = nullptr;
  gate* user_ = nullptr;  ///< whose own it is, or may become
  std::uint32_t marks_ = 0;
  std::atomic<std::uint32_t> shown_{0};
  std::uint8_t uses_ = 0;  ///< how often in a row by that one
  std::uint8_t patience_ = first_patience;
  bool ripe_ = false;
};

/// For destructors: somebody still uses what is being destroyed. Prints what and ends the program.
[[noreturn]] void destroyed_in_use(const char* what, const void* which) noexcept;

}  // namespace weft::detail
