#include "weft/channel_core.hpp"

#include <stdexcept>

#include "cancellation.hpp"
#include "fiber_wait.hpp"

namespace weft::detail {

// --- what it holds; inside ---

// A pairing heap (Fredman et al., 1986): a heap is its root, children are a list.
channel_item* channel_core::meld(channel_item* a, channel_item* b) noexcept {
  if (!a) return b;
  if (!b) return a;
  if (before_(*b, *a)) std::swap(a, b);
  b->next = a->child;
  a->child = b;
  return a;
}

[[gnu::always_inline]] inline void channel_core::push(channel_item& item) noexcept {
  size_.store(size() + 1, std::memory_order_relaxed);
  item.next = nullptr;
  if (order_ != channel_order::oldest) [[unlikely]]
    return push_in_order(item);
  (head_ ? tail_->next : head_) = &item;
  tail_ = &item;
}

[[gnu::noinline]] void channel_core::push_in_order(channel_item& item) noexcept {
  if (order_ == channel_order::by_priority) {
    item.child = nullptr;
    item.sent = sent_++;
    head_ = meld(head_, &item);
  } else {
    item.next = head_;
    head_ = &item;
  }
}

[[gnu::always_inline]] inline channel_item* channel_core::pop() noexcept {
  size_.store(size() - 1, std::memory_order_relaxed);
  channel_item* const out = head_;
  if (order_ == channel_order::by_priority) [[unlikely]]
    head_ = without_root(*out);
  else
    head_ = out->next;
  return out;
}

// Children in pairs from left to right, then the pairs from right to left.
[[gnu::noinline]] channel_item* channel_core::without_root(const channel_item& root) noexcept {
  channel_item* pairs = nullptr;
  for (channel_item* c = root.child; c;) {
    channel_item* const a = std::exchange(c, c->next);
    channel_item* b = nullptr;
    if (c) b = std::exchange(c, c->next);
    a->next = nullptr;
    channel_item* const both = meld(a, b);
    both->next = pairs;
    pairs = both;
  }
  channel_item* rest = nullptr;
  while (pairs) {
    channel_item* const p = std::exchange(pairs, pairs->next);
    p->next = nullptr;
    rest = meld(rest, p);
  }
  return rest;
}

channel_item* channel_core::take_all() noexcept {
  channel_item* all = nullptr;
  for (channel_item* todo = std::exchange(head_, nullptr); todo;) {
    channel_item* const i = std::exchange(todo, todo->next);
    if (order_ == channel_order::by_priority && i->child) {
      channel_item* last = i->child;
      while (last->next) last = last->next;
      last->next = todo;
      todo = i->child;
    }
    i->next = all;
    all = i;
  }
  done_with(size());
  size_.store(0, std::memory_order_relaxed);
  return all;
}

// --- matching; inside ---

[[gnu::always_inline]] inline channel_core::word channel_core::right_marks() const noexcept {
  const bool ended = closed_.load(std::memory_order_relaxed);
  word m = 0;
  if (ended || size() > 0 || !senders_.empty()) m |= something;
  if (ended || size() < capacity_ || !receivers_.empty()) m |= room;
  return m;
}

// After each change.
void channel_core::remark() noexcept {
  awaited_.store(!receivers_.empty(), std::memory_order_relaxed);
  set_marks(right_marks());
}

void channel_core::answer(turn& t, outcome how) noexcept {
  t.how = how;
  grant(t);
}

void channel_core::hand(turn& receiver, channel_item& item) noexcept {
  ++undone_;
  receiver.item = &item;
  answer(receiver, outcome::done);
}

[[gnu::always_inline]] inline channel_core::turn* channel_core::first_of(wait_list& list) noexcept {
  if (list.empty()) return nullptr;
  wait_entry& e = list.pop_front();
  if (e.shared || !fiber_wait::claim_near(e.who)) [[unlikely]]
    return first_from(e, list);
  return static_cast<turn*>(&e);
}

[[gnu::noinline]] channel_core::turn* channel_core::first_from(wait_entry& oldest, wait_list& list) noexcept {
  for (wait_entry* e = &oldest;;) {
    if (e->claim()) return static_cast<turn*>(e);
    drop(*e);
    if (list.empty()) return nullptr;
    e = &list.pop_front();
  }
}

// For one in no list, whose wait has ended otherwise.
[[gnu::cold]] void channel_core::drop(wait_entry& e) noexcept {
  if (!e.drop()) departing_.push_back(e);
}

// Without a wait of the caller's.
channel_core::outcome channel_core::put(channel_item& item) noexcept {
  if (closed_.load(std::memory_order_relaxed)) return outcome::closed;
  if (turn* const r = first_of(receivers_)) {
    hand(*r, item);
  } else if (size() < capacity_) {
    ++undone_;
    push(item);
  } else {
    return outcome::full_or_empty;
  }
  remark();
  return outcome::done;
}

channel_core::outcome channel_core::take(channel_item*& item) noexcept {
  const outcome how = take_unmarked(item);
  remark();
  return how;
}

channel_core::outcome channel_core::take_unmarked(channel_item*& item) noexcept {
  if (size() > 0) {
    item = pop();
    if (turn* const s = first_of(senders_)) {
      ++undone_;
      push(*std::exchange(s->item, nullptr));
      answer(*s, outcome::done);
    }
    return outcome::done;
  }
  if (turn* const s = first_of(senders_)) {
    ++undone_;
    item = std::exchange(s->item, nullptr);
    answer(*s, outcome::done);
    return outcome::done;
  }
  return closed_.load(std::memory_order_relaxed) ? outcome::closed : outcome::full_or_empty;
}

// Not the other arm of the same select, which cannot be met.
bool channel_core::somebody_else_in(const wait_list& list, const turn& t) noexcept {
  for (const wait_entry* e = list.front(); e; e = e->next)
    if (e->who.waits() && e->who != t.who) return true;
  return false;
}

// With a wait, which must be claimed before anything changes hands. The other side may be gone by then: then the wait
// ends with `retry`.
void channel_core::send_or_link(turn& t) noexcept {
  const bool can = closed_.load(std::memory_order_relaxed) || size() < capacity_ || somebody_else_in(receivers_, t);
  if (!can) {
    t.came_before ? senders_.push_front(t) : senders_.push_back(t);
    remark();
  } else if (t.claim()) {
    const outcome how = put(*t.item);
    if (how == outcome::done) t.item = nullptr;
    answer(t, how == outcome::full_or_empty ? outcome::retry : how);
  } else {
    drop(t);
  }
}

void channel_core::receive_or_link(turn& t) noexcept {
  const bool can = closed_.load(std::memory_order_relaxed) || size() > 0 || somebody_else_in(senders_, t);
  if (!can) {
    t.came_before ? receivers_.push_front(t) : receivers_.push_back(t);
    remark();
  } else if (t.claim()) {
    const outcome how = take(t.item);
    answer(t, how == outcome::full_or_empty ? outcome::retry : how);
  } else {
    drop(t);
  }
}

void channel_core::done_with(std::size_t n) noexcept {
  undone_ -= n;
  if (undone_ > 0 || n == 0) return;
  while (turn* const j = first_of(joiners_)) answer(*j, outcome::done);
}

void channel_core::end() noexcept {
  closed_.store(true, std::memory_order_release);
  while (turn* const s = first_of(senders_)) answer(*s, outcome::closed);
  while (turn* const r = first_of(receivers_)) answer(*r, outcome::closed);
  remark();
}

// --- from outside ---

void channel_core::carry_out_send(request& r) noexcept {
  auto& t = static_cast<turn&>(r);
  static_cast<channel_core*>(t.where)->send_or_link(t);
}
void channel_core::carry_out_receive(request& r) noexcept {
  auto& t = static_cast<turn&>(r);
  static_cast<channel_core*>(t.where)->receive_or_link(t);
}

channel_core::outcome channel_core::wait_for_turn(agent& me, turn& t, deadline until) {
  for (;;) {
    switch (wait(me, t, wait_kind::channel, until)) {
      case wake_reason::woken:
        if (t.how != outcome::retry) return t.how;
        t.granted = false;
        t.came_before = true;
        break;
      case wake_reason::timed_out:
        return outcome::full_or_empty;
      case wake_reason::cancelled:
        throw_cancelled(me);
    }
  }
}

// Where the channel is the calling loop's own. False: nothing has been done, and it is to be asked in the way that is
// always open.
[[gnu::always_inline]] inline bool channel_core::keeps_at_home(channel_item& item) noexcept {
  gate& here = *tl_gate;
  if (rarely(!is_at_home(here)) || !(shown() & room)) return false;
  if (rarely(!goes_in(here)) || rarely(!receivers_.empty()) || rarely(closed_.load(std::memory_order_relaxed)) ||
      rarely(size() >= capacity_)) {
    leave_gate(here);
    return false;
  }
  ++undone_;
  push(item);
  awaited_.store(false, std::memory_order_relaxed);
  return leave_as_own(here, something | (size() < capacity_ ? room : 0));
}

[[gnu::always_inline]] inline bool channel_core::gives_at_home(channel_item*& item) noexcept {
  gate& here = *tl_gate;
  if (rarely(!is_at_home(here)) || rarely(!(shown() & something))) return false;
  if (rarely(!goes_in(here)) || rarely(closed_.load(std::memory_order_relaxed)) ||
      rarely(size() == 0 && senders_.empty())) {
    leave_gate(here);
    return false;
  }
  if (!senders_.empty()) return gives_and_lets_send(here, item);
  item = pop();
  return leave_as_own(here, room | (size() > 0 ? something : 0));
}

// Inside. A sender that waits puts its value where there is room now, and goes on.
[[gnu::noinline]] bool channel_core::gives_and_lets_send(gate& here, channel_item*& item) noexcept {
  turn& oldest = *static_cast<turn*>(senders_.front());
  if (rarely(oldest.shared) || rarely(!fiber_wait::claim_near(oldest.who))) {
    leave_gate(here);
    return false;
  }
  (void)senders_.pop_front();
  item = std::exchange(oldest.item, nullptr);
  if (size() > 0) {
    channel_item& theirs = *item;
    item = pop();
    push(theirs);
  }
  ++undone_;
  oldest.granted = true;
  oldest.how = outcome::done;
  fiber_wait::resume_near(oldest.who);
  return leave_as_own(here, right_marks());
}

channel_core::outcome channel_core::send_item(channel_item& item, deadline until) {
  return keeps_at_home(item) ? outcome::done : send_and_wait(item, until);
}

[[gnu::noinline]] channel_core::outcome channel_core::send_and_wait(channel_item& item, deadline until) {
  turn t;
  t.item = &item;
  if (const departure away = begin_to_send(t, until); away.to) {
    away.take();
    has_waited(t);
  }
  return t.how;
}

// After hand_over(), which was the checkpoint.
[[gnu::noinline]] departure channel_core::begin_to_send(turn& t, deadline until) {
  agent* const me = tl_agent;
  if (rarely(!is_at_home(*tl_gate)) || rarely(shown() & room) || rarely(me->hint.load(std::memory_order_relaxed)) ||
      rarely(has_deadline(*me, until)) || rarely(!can_park(*me)))
    return sent_slowly(t, until);
  return link_sender_and_depart(t);
}

[[gnu::noinline]] departure channel_core::link_sender_and_depart(turn& t) {
  agent* const me = tl_agent;
  gate& here = *tl_gate;
  if (rarely(!goes_in(here))) return sent_from_outside(t);
  t.where = this;
  t.who = fiber_wait::handle(*me, announce(*me, wait_kind::channel, this, 0));
  senders_.push_back(t);
  is_about_to_park(*me);
  show(something);
  if (leaves_debts(here)) return depart_settled(t);
  auto& f = static_cast<fiber_agent&>(*me);
  return f.home->depart_at_once(f, [&] { return depart_slowly(t); });
}

// In the gate, where nothing has been done.
[[gnu::noinline]] departure channel_core::sent_from_outside(turn& t) {
  leave_gate(*tl_gate);
  return sent_slowly(t, {});
}

[[gnu::noinline]] departure channel_core::sent_slowly(turn& t, deadline until) {
  agent& me = waiting_agent();
  if (looks(room) && try_enter()) {
    t.how = put(*t.item);
    leave();
    if (t.how != outcome::full_or_empty) return {};
    t.how = outcome::retry;
  }
  t.carry_out = &carry_out_send;
  t.how = wait_for_turn(me, t, until);
  return {};
}

// A fiber of the loop whose own the channel is needs no request: it links itself.
[[gnu::noinline]] departure channel_core::begin_to_receive(turn& t) {
  agent* const me = tl_agent;
  if (rarely(!passes_checkpoint(me))) return received_after_checkpoint(t);
  if (rarely(!is_at_home(*tl_gate))) return received_slowly(t);
  if (shown() & something) return received_at_home(t);
  if (rarely(has_deadline(*me, {})) || rarely(!can_park(*me))) return received_slowly(t);
  return link_and_depart(t);
}

// A function of its own, without calls and what must be kept over them.
[[gnu::noinline]] departure channel_core::link_and_depart(turn& t) {
  agent* const me = tl_agent;
  gate& here = *tl_gate;
  if (rarely(!goes_in(here))) return received_from_outside(t);
  t.where = this;
  t.who = fiber_wait::handle(*me, announce(*me, wait_kind::channel, this, 0));
  receivers_.push_back(t);
  awaited_.store(true, std::memory_order_relaxed);
  is_about_to_park(*me);
  show(room);
  if (leaves_debts(here)) return depart_settled(t);
  auto& f = static_cast<fiber_agent&>(*me);
  return f.home->depart_at_once(f, [&] { return depart_slowly(t); });
}

[[gnu::cold, gnu::noinline]] departure channel_core::depart_settled(turn& t) {
  release_owed();
  return depart_slowly(t);
}

[[gnu::noinline]] departure channel_core::depart_slowly(turn& t) {
  return tl_loop->depart(static_cast<fiber_agent&>(*tl_agent), [&] { return is_back_already(t); });
}

[[gnu::noinline]] departure channel_core::is_back_already(turn& t) {
  has_waited(t);
  return {};
}

[[gnu::noinline]] departure channel_core::received_at_home(turn& t) {
  if (!gives_at_home(t.item)) [[unlikely]]
    return received_slowly(t);
  t.how = outcome::done;
  return {};
}

// In the gate, where nothing has been done.
[[gnu::noinline]] departure channel_core::received_from_outside(turn& t) {
  leave_gate(*tl_gate);
  return received_slowly(t);
}

[[gnu::noinline]] departure channel_core::received_after_checkpoint(turn& t) {
  checkpoint_slowly();
  return received_slowly(t);
}

[[gnu::noinline]] departure channel_core::received_slowly(turn& t) {
  t.how = receive_slowly(waiting_agent(), t, {});
  return {};
}

[[gnu::cold]] void channel_core::give_up(turn& t) {
  retract(t);
  throw_cancelled(waiting_agent());
}

channel_core::outcome channel_core::receive(turn& t, deadline until) {
  return receive_slowly(checkpoint_of_caller(), t, until);
}

[[gnu::noinline]] channel_core::outcome channel_core::receive_slowly(agent& me, turn& t, deadline until) {
  if (looks(something) && try_enter()) {
    t.how = take(t.item);
    leave();
    if (t.how != outcome::full_or_empty) return t.how;
  }
  t.how = outcome::retry;
  t.carry_out = &carry_out_receive;
  return wait_for_turn(me, t, until);
}

// --- from a sender's hand to a receiver's ---

// Inside; nothing is held, and it is not closed, while somebody waits to receive. r has been claimed, and is in no
// list. m are the marks so far; gives those from now on.
[[gnu::always_inline]] inline channel_core::word channel_core::is_to_receive(turn& r, word m) noexcept {
  if (receivers_.empty()) [[likely]] {
    awaited_.store(false, std::memory_order_relaxed);
    // There are senders when one is the other arm of the same select.
    m = room_in_itself_;
    if (!senders_.empty()) [[unlikely]]
      m |= something;
  }
  ++undone_;
  r.granted = true;
  r.how = outcome::done;
  return m;
}

channel_core::turn* channel_core::pick_receiver() noexcept {
  turn* const r = first_of(receivers_);
  if (r) set_marks(is_to_receive(*r, marks()));
  return r;
}

// Each other way is a function of its own, so that this one keeps nothing over a call.
[[gnu::always_inline]] inline channel_core::handing channel_core::hand_over_in_line(bool plain) noexcept {
  if (!awaited_.load(std::memory_order_relaxed)) [[unlikely]]
    return {};  // to be known for certain only inside; see put()
  gate& here = *tl_gate;
  if (rarely(!is_at_home(here))) return hand_over_of_others();
  if (rarely(!goes_in(here))) return hand_over_of_others_now();
  turn* const r = static_cast<turn*>(receivers_.front());
  if (rarely(!r) || rarely(r->shared) || rarely(!fiber_wait::claim_near(r->who))) return hand_over_at_home();
  (void)receivers_.pop_front();
  const word m = is_to_receive(*r, shown());
  if (plain) [[likely]]
    fiber_wait::resume_near(r->who);
  const handing h{r, plain};
  show(m);
  return leaves_debts(here) ? settled(h) : h;
}

// It is being taken away.
[[gnu::noinline]] channel_core::handing channel_core::hand_over_of_others_now() noexcept {
  leave_gate(*tl_gate);
  return hand_over_of_others();
}

[[gnu::noinline]] channel_core::handing channel_core::hand_over_of_others() noexcept {
  if (!looks(room) || !try_enter()) return {};
  return hand_over_inside();
}

[[gnu::noinline]] channel_core::handing channel_core::hand_over_at_home() noexcept {
  take_marks();
  return hand_over_inside();
}

[[gnu::noinline]] channel_core::handing channel_core::hand_over_inside() noexcept {
  turn* const r = pick_receiver();
  leave();
  return {r, false};
}

[[gnu::cold, gnu::noinline]] channel_core::handing channel_core::settled(handing h) noexcept {
  release_owed();
  return h;
}

[[gnu::noinline]] channel_core::handing channel_core::hand_over(bool plain) {
  if (rarely(!passes_checkpoint(tl_agent))) return hand_over_after_checkpoint(plain);
  return hand_over_in_line(plain);
}

channel_core::handing channel_core::try_hand_over(bool plain) noexcept { return hand_over_in_line(plain); }

[[gnu::noinline]] channel_core::handing channel_core::hand_over_after_checkpoint(bool plain) {
  checkpoint_slowly();
  return try_hand_over(plain);
}

void channel_core::go_on(turn& receiver) noexcept { fiber_wait::resume(receiver.who); }

channel_core::outcome channel_core::try_send_item(channel_item& item) noexcept {
  return keeps_at_home(item) ? outcome::done : ask([&] { return put(item); });
}
channel_core::outcome channel_core::try_receive_item(channel_item*& item) noexcept {
  if (gives_at_home(item)) return outcome::done;
  return looks(something) ? ask([&] { return take(item); }) : outcome::full_or_empty;
}

void channel_core::close() noexcept {
  perform_soon([this] { end(); });
}

channel_item* channel_core::close_and_empty() noexcept {
  return ask([this] {
    end();
    return take_all();
  });
}

// Whose wait has ended otherwise, by its time or a cancellation, may not have run since; it is told to keep off, or, if
// another thread is bringing it here at this moment, awaited.
channel_item* channel_core::shut() noexcept {
  channel_item* const all = ask([this] {
    end();
    while (turn* const j = first_of(joiners_)) answer(*j, outcome::closed);
    return take_all();
  });
  while (ask([this] { return !departing_.empty(); })) take_turns();
  return all;
}

void channel_core::task_done() {
  const bool some = ask([this] {
    if (undone_ == 0) return false;
    done_with(1);
    return true;
  });
  if (!some) throw std::logic_error("weft::channel: task_done() was called more often than values were sent");
}

void channel_core::join() {
  agent& me = checkpoint_of_caller();
  turn t;
  t.carry_out = [](request& r) noexcept {
    auto& self = static_cast<turn&>(r);
    auto& what = *static_cast<channel_core*>(self.where);
    if (what.undone_ > 0)
      what.joiners_.push_back(self);
    else if (self.claim())
      what.answer(self, outcome::done);
    else
      what.drop(self);
  };
  if (wait_for_turn(me, t, {}) == outcome::closed) throw channel_closed();
}

}  // namespace weft::detail
