#pragma once
// Who waits for a synchronisation primitive, and what is to be done inside its monitor: both lie with whoever asks, so
// that neither needs memory.

#include <atomic>
#include <cstdint>

#include "weft/waiter.hpp"

namespace weft::detail {

class monitor;

/// Something to be done inside. It lies with whoever asks, until it is carried out.
///
/// What has no initial value, here and in a wait_entry, is written before it is read: many entries end without the most
/// of it, and to clear it is a good part of what they cost.
struct alignas(16) request {
  void (*carry_out)(request&) noexcept;  ///< whoever asks sets it
  request* next_request;                 ///< set where it is left
};

/// A request that an agent waits for; on its frame.
///
/// Who may touch what: the agent until the request is made, whoever is inside the monitor from then on, and the agent
/// again once it is woken, or has retracted it.
struct wait_entry : request {
  monitor* where;  ///< set, with `who`, when the wait begins
  waker who;
  bool shared = false;     ///< its wait may be ended by others at the same time (select)
  bool by_itself = false;  ///< carried out by the agent that waits
  bool granted = false;
  enum stay : std::uint8_t { staying, leaving, dropped };
  std::atomic<stay> stays{staying};  ///< who comes first: its agent, to take it out, or who finds that its wait is over
  class wait_list* in = nullptr;
  wait_entry* next;  ///< these two set by the list
  wait_entry* previous;

  /// Decides its wait. False when that has ended otherwise: then it is to get nothing.
  [[nodiscard]] bool claim() noexcept { return shared ? who.claim() : who.claim_alone(); }
  /// Inside, for one in no list, that could not be claimed: its agent need not come for it any more, and must not if
  /// the primitive is to go. False when it is on its way; else it may be gone now.
  bool drop() noexcept { return stays.exchange(dropped, std::memory_order_acq_rel) == staying; }
};

/// Who waits, oldest first.
class wait_list {
 public:
  [[nodiscard]] bool empty() const noexcept { return !first_; }
  [[nodiscard]] wait_entry* front() const noexcept { return first_; }
  void push_back(wait_entry& e) noexcept {
    e.in = this;
    e.next = nullptr;
    if (first_) [[unlikely]] {
      e.previous = last_;
      last_->next = &e;
    } else {
      first_ = &e;
    }
    last_ = &e;
  }
  void push_front(wait_entry& e) noexcept {
    e.in = this;
    e.next = first_;
    (first_ ? first_->previous : last_) = &e;
    first_ = &e;
  }
  void erase(wait_entry& e) noexcept {
    e.in = nullptr;
    if (first_ == &e) {
      first_ = e.next;
      return;
    }
    e.previous->next = e.next;
    (e.next ? e.next->previous : last_) = e.previous;
  }
  /// Takes out the oldest; there must be one.
  wait_entry& pop_front() noexcept {
    wait_entry& e = *first_;
    first_ = e.next;
    e.in = nullptr;
    return e;
  }
  /// Takes out the oldest whose wait this call decides; null if there is none.
  [[nodiscard]] wait_entry* claim_front() noexcept {
    while (first_) {
      wait_entry& e = pop_front();
      if (e.claim()) return &e;
      e.drop();
    }
    return nullptr;
  }

 private:
  wait_entry* first_ = nullptr;
  wait_entry* last_ = nullptr;  ///< stale while there is none; so is the first one's `previous`
};

}  // namespace weft::detail
