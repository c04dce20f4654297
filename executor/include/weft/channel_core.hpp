#pragma once
// What all channels share, whatever their values' type: what they hold, and who waits.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "weft/deadline.hpp"
#include "weft/departure.hpp"
#include "weft/monitor.hpp"
#include "weft/rarely.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

/// A value on its way, in memory of its own, so that no user code runs while the channel is occupied.
struct channel_item {
  channel_item* next = nullptr;
  channel_item* child = nullptr;  ///< for the heap
  std::uint64_t sent = 0;         ///< for the heap
};

struct select_access;

enum class channel_order : std::uint8_t { oldest, newest, by_priority };
/// Whether the first of two goes out before the second.
using goes_before = bool(const channel_item&, const channel_item&) noexcept;

/// All of a channel but the values.
///
/// What a send to a receiver of another loop changes lies within 64 bytes, with the monitor: each cache line comes from
/// the other core, and one after the other. (Not aligned to one: GCC 12 makes coroutine frames that are less aligned
/// than what is in them.)
class channel_core : private monitor {
 public:
  enum class outcome : std::uint8_t { done, full_or_empty, closed, retry };

  /// One wait to send or to receive; on a frame.
  struct turn : wait_entry {
    channel_item* item = nullptr;  ///< a sender's until it was sent; a receiver's once it was received
    void* place = nullptr;         ///< a receiver's: a sender puts its value there, when it gives no item
    outcome how = outcome::retry;
    bool came_before = false;  ///< goes before others
  };

  [[nodiscard]] std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] bool full() const noexcept { return size() >= capacity_; }
  /// True once close() was called.
  [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }

  /// Nothing more is sent: senders, those waiting too, get channel_closed; receivers get what is there, then
  /// channel_closed. May be called again.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: writes before it are visible to whoever finds the channel closed.
  /// Throws:   nothing.
  void close() noexcept;

  /// Says that one received value has been dealt with; see join().
  ///
  /// Suspends: never, but where another thread uses the channel at the same moment.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: writes before it are visible after join().
  /// Throws:   std::logic_error when it is called more often than values were sent.
  void task_done();

  /// Waits until task_done() was called for every value sent.
  ///
  /// Suspends: a checkpoint always; switches while something is undone, else every 128th call.
  /// Cancel:   throws cancelled; nothing has changed.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: writes before each task_done() are visible.
  /// Throws:   channel_closed when the channel is destroyed meanwhile; bad_wait; wait_in_algorithm.
  void join();

 protected:
  channel_core(std::size_t capacity, channel_order order, goes_before* before) noexcept
      : order_(order), capacity_(capacity), before_(before), room_in_itself_(capacity > 0 ? room : 0) {
    word_.store(room_in_itself_, std::memory_order_relaxed);
  }
  ~channel_core() = default;

  /// A receiver that waits, and is the caller's now, to put its value into its place: so a value that somebody waits
  /// for needs no memory, and moves outside the monitor. It stays as it is until go_on(); if it goes on by itself,
  /// until the caller next waits. Null when none waits.
  struct handing {
    turn* to = nullptr;
    bool goes_on = false;  ///< by itself, without go_on()
  };
  /// A checkpoint. `plain`: to put the value there cannot wait.
  handing hand_over(bool plain);
  /// The same without a checkpoint.
  handing try_hand_over(bool plain) noexcept;
  static void go_on(turn& receiver) noexcept;
  /// `done`: the item is the channel's. `full_or_empty`: the time was up. After hand_over().
  outcome send_item(channel_item& item, deadline until);
  outcome try_send_item(channel_item& item) noexcept;
  /// `done`: the value is in t.item, or if that is null in its place. A checkpoint.
  outcome receive(turn& t) {
    if (const departure away = begin_to_receive(t); away.to) {
      away.take();
      has_waited(t);
    }
    return t.how;
  }
  outcome receive(turn& t, deadline until);
  outcome try_receive_item(channel_item*& item) noexcept;
  /// close(), and takes all that it holds out, for the caller to destroy.
  channel_item* close_and_empty() noexcept;
  /// For the destructor: nobody waits any more.
  channel_item* shut() noexcept;

 private:
  friend struct select_access;
  static constexpr word something = mark;    ///< to receive, or it is closed
  static constexpr word room = second_mark;  ///< to send, or it is closed

  [[nodiscard]] bool looks(word what) const noexcept { return look() & what; }
  [[nodiscard]] word right_marks() const noexcept;
  void remark() noexcept;
  turn* pick_receiver() noexcept;
  word is_to_receive(turn& r, word m) noexcept;
  handing hand_over_in_line(bool plain) noexcept;
  handing hand_over_of_others() noexcept;
  handing hand_over_of_others_now() noexcept;
  handing hand_over_at_home() noexcept;
  handing hand_over_inside() noexcept;
  handing hand_over_after_checkpoint(bool plain);
  static handing settled(handing h) noexcept;
  departure begin_to_receive(turn& t);
  departure link_and_depart(turn& t);
  departure depart_settled(turn& t);
  departure depart_slowly(turn& t);
  departure received_at_home(turn& t);
  departure received_from_outside(turn& t);
  departure received_after_checkpoint(turn& t);
  departure received_slowly(turn& t);
  departure is_back_already(turn& t);
  void has_waited(turn& t) {
    if (rarely(t.who.end() != wake_reason::woken)) give_up(t);
  }
  [[noreturn]] void give_up(turn& t);
  outcome put(channel_item& item) noexcept;
  outcome take(channel_item*& item) noexcept;
  outcome take_unmarked(channel_item*& item) noexcept;
  void send_or_link(turn& t) noexcept;
  void receive_or_link(turn& t) noexcept;
  void answer(turn& t, outcome how) noexcept;
  [[nodiscard]] static bool somebody_else_in(const wait_list& list, const turn& t) noexcept;
  [[nodiscard]] turn* first_of(wait_list& list) noexcept;
  [[nodiscard]] turn* first_from(wait_entry& oldest, wait_list& list) noexcept;
  void drop(wait_entry& e) noexcept;
  void hand(turn& receiver, channel_item& item) noexcept;
  void end() noexcept;
  void done_with(std::size_t n) noexcept;
  channel_item* take_all() noexcept;
  outcome receive_slowly(agent& me, turn& t, deadline until);
  outcome wait_for_turn(agent& me, turn& t, deadline until);
  bool keeps_at_home(channel_item& item) noexcept;
  bool gives_at_home(channel_item*& item) noexcept;
  bool gives_and_lets_send(gate& here, channel_item*& item) noexcept;
  outcome send_and_wait(channel_item& item, deadline until);
  departure begin_to_send(turn& t, deadline until);
  departure link_sender_and_depart(turn& t);
  departure sent_from_outside(turn& t);
  departure sent_slowly(turn& t, deadline until);
  void push(channel_item& item) noexcept;
  void push_in_order(channel_item& item) noexcept;
  channel_item* pop() noexcept;
  channel_item* without_root(const channel_item& root) noexcept;
  channel_item* meld(channel_item* a, channel_item* b) noexcept;
  static void carry_out_send(request& r) noexcept;
  static void carry_out_receive(request& r) noexcept;

  // Inside only, but size_, closed_ and awaited_, which anybody may read, and what never changes.
  const channel_order order_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> awaited_{false};  ///< somebody is in receivers_
  wait_list receivers_;
  std::size_t undone_ = 0;
  // So far the 64 bytes.
  std::atomic<std::size_t> size_{0};
  channel_item* head_ = nullptr;
  channel_item* tail_ = nullptr;
  std::uint64_t sent_ = 0;
  const std::size_t capacity_;
  goes_before* const before_;
  const word room_in_itself_;  ///< the mark, while it is empty
  wait_list senders_;
  wait_list joiners_;
  wait_list departing_;  ///< their waits are over, and they are about to come in and take themselves out
};

}  // namespace weft::detail
