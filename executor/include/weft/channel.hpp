#pragma once
// A queue between agents that bounds itself: senders wait while it is full, receivers while it is empty.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "weft/deadline.hpp"
#include "weft/departure.hpp"
#include "weft/error.hpp"
#include "weft/future.hpp"
#include "weft/monitor.hpp"

namespace weft {

/// A capacity without a bound: senders never wait, and memory is the limit. Say it where you mean it.
inline constexpr std::size_t unbounded = std::numeric_limits<std::size_t>::max();

/// In which order a channel gives out what it holds.
struct fifo {};
struct lifo {};
/// The one that no other goes before: by default the greatest, as std::priority_queue; equal ones in the order they
/// were sent. Less is called while the channel is occupied: it must not wait, nor use the channel, nor throw.
template <class Less = std::less<>>
struct by_priority {};

namespace detail {

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
      : capacity_(capacity), order_(order), before_(before), room_in_itself_(capacity > 0 ? room : 0) {
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
  void remark() noexcept;
  turn* pick_receiver() noexcept;
  void is_to_receive(turn& r) noexcept;
  handing hand_over_in_line(bool plain) noexcept;
  handing hand_over_of_others() noexcept;
  handing hand_over_of_others_now() noexcept;
  handing hand_over_inside() noexcept;
  handing hand_over_after_checkpoint(bool plain);
  static handing settled(handing h) noexcept;
  departure begin_to_receive(turn& t);
  departure received_inside(agent& me, turn& t);
  departure received_from_outside(agent& me, turn& t);
  departure received_slowly(agent& me, turn& t);
  departure is_back_already(turn& t);
  void has_waited(turn& t) {
    if (t.who.end() != wake_reason::woken) [[unlikely]]
      give_up_receiving(t);
  }
  [[noreturn]] void give_up_receiving(turn& t);
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
  void push(channel_item& item) noexcept;
  channel_item* pop() noexcept;
  channel_item* meld(channel_item* a, channel_item* b) noexcept;
  static void carry_out_send(request& r) noexcept;
  static void carry_out_receive(request& r) noexcept;

  const std::size_t capacity_;
  const channel_order order_;
  goes_before* const before_;
  const word room_in_itself_;  ///< the mark, while it is empty
  // Inside only, but size_, closed_ and awaited_, which anybody may read.
  std::atomic<std::size_t> size_{0};
  std::atomic<bool> closed_{false};
  std::atomic<bool> awaited_{false};  ///< somebody is in receivers_
  channel_item* head_ = nullptr;
  channel_item* tail_ = nullptr;
  std::uint64_t sent_ = 0;
  std::size_t undone_ = 0;
  wait_list senders_;
  wait_list receivers_;
  wait_list joiners_;
  wait_list departing_;  ///< their waits are over, and they are about to come in and take themselves out
};

template <class T>
struct channel_value : channel_item {
  template <class... Args>
  explicit channel_value(Args&&... args) : value(std::forward<Args>(args)...) {}
  static void* operator new(std::size_t size) { return allocate_record(size); }
  static void operator delete(void* memory, std::size_t size) noexcept { free_record(memory, size); }
  static void* operator new(std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); }
  static void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
    ::operator delete(memory, alignment);
  }
  T value;
};

/// Where a value is received; on a frame.
template <class T>
struct channel_place : channel_core::turn {
  channel_place() noexcept { place = &value_; }
  ~channel_place() {
    if (full()) (void)take();
  }
  channel_place(const channel_place&) = delete;
  channel_place& operator=(const channel_place&) = delete;

  [[nodiscard]] bool full() const noexcept { return how == channel_core::outcome::done; }
  /// Once, when it is full.
  T take() noexcept {
    how = channel_core::outcome::retry;
    if (item) {
      const std::unique_ptr<channel_value<T>> v(static_cast<channel_value<T>*>(std::exchange(item, nullptr)));
      return std::move(v->value);
    }
    const leaving ends{value_};
    return std::move(value_);
  }

 private:
  struct leaving {
    T& what;
    ~leaving() { std::destroy_at(&what); }
  };
  union {
    T value_;
  };
};

/// A value that is to be sent; it goes back to where it came from unless it was.
template <class T>
class channel_holder {
 public:
  explicit channel_holder(T&& from) : from_(from), item_(new channel_value<T>(std::move(from))) {}
  ~channel_holder() {
    if (!item_) return;
    std::destroy_at(&from_);
    std::construct_at(&from_, std::move(item_->value));
    delete item_;
  }
  channel_holder(const channel_holder&) = delete;
  channel_holder& operator=(const channel_holder&) = delete;
  [[nodiscard]] channel_value<T>* get() const noexcept { return item_; }
  void release() noexcept { item_ = nullptr; }

 private:
  T& from_;
  channel_value<T>* item_;
};

template <class Order, class T>
struct order_of;
template <class T>
struct order_of<fifo, T> {
  static constexpr auto what = channel_order::oldest;
  static constexpr goes_before* before = nullptr;
};
template <class T>
struct order_of<lifo, T> {
  static constexpr auto what = channel_order::newest;
  static constexpr goes_before* before = nullptr;
};
template <class Less, class T>
struct order_of<by_priority<Less>, T> {
  static constexpr auto what = channel_order::by_priority;
  static bool before(const channel_item& a, const channel_item& b) noexcept {
    const T& x = static_cast<const channel_value<T>&>(a).value;
    const T& y = static_cast<const channel_value<T>&>(b).value;
    if (Less()(y, x)) return true;
    return !Less()(x, y) && a.sent < b.sent;
  }
};

}  // namespace detail

/// Many senders, many receivers. With capacity 0 a sender waits for its receiver (a rendezvous).
///
/// A value is received once, in the order of the channel; waiting senders and receivers are served oldest first.
/// Destroying a channel gives channel_closed to those who still wait, and destroys what it holds.
template <class T, class Order = fifo>
class channel : public detail::channel_core {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "a channel moves its values: T's move constructor must not throw");
  using value = detail::channel_value<T>;
  using holder = detail::channel_holder<T>;
  using order_type = detail::order_of<Order, T>;

 public:
  explicit channel(std::size_t capacity) noexcept : channel_core(capacity, order_type::what, order_type::before) {}
  ~channel() { destroy(shut()); }

  /// Hands `v` to one receiver, waiting while the channel is full.
  ///
  /// Suspends: a checkpoint always; switches when full, else every 128th call.
  /// Cancel:   throws cancelled; `v` was not sent and is still yours.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: writes before send() are visible to whoever receives `v`.
  /// Throws:   channel_closed once close() has been called, and `v` is still yours; what copying throws; bad_wait;
  ///           wait_in_algorithm.
  void send(T&& v) { (void)send_until(std::move(v), deadline::never()); }
  void send(const T& v) { send(T(v)); }

  /// Like send(), until a point in time or for a time at most. False when the time was up; `v` is still yours.
  [[nodiscard]] bool send_until(T&& v, deadline until) {
    if (const handing h = hand_over(plain); h.to) return handed(std::move(v), h);
    holder item(std::move(v));
    return sent(item, send_item(*item.get(), until));
  }
  [[nodiscard]] bool send_until(const T& v, deadline until) { return send_until(T(v), until); }
  template <class Rep, class Period>
  [[nodiscard]] bool send_for(T&& v, std::chrono::duration<Rep, Period> duration) {
    return send_until(std::move(v), deadline::after(duration));
  }
  template <class Rep, class Period>
  [[nodiscard]] bool send_for(const T& v, std::chrono::duration<Rep, Period> duration) {
    return send_for(T(v), duration);
  }

  /// Like send(), but never waits, and is no checkpoint. False when it is full; `v` is still yours.
  /// (Where another thread uses the channel at the same moment it may suspend for that.)
  [[nodiscard]] bool try_send(T&& v) {
    if (const handing h = try_hand_over(plain); h.to) return handed(std::move(v), h);
    holder item(std::move(v));
    return sent(item, try_send_item(*item.get()));
  }
  [[nodiscard]] bool try_send(const T& v) { return try_send(T(v)); }

  /// Takes the next value, waiting for one while the channel is empty.
  ///
  /// Suspends: a checkpoint always; switches when empty, else every 128th call.
  /// Cancel:   throws cancelled; nothing was taken.
  /// Threads:  any agent, any loop; on a plain thread it blocks.
  /// Ordering: writes before the send() are visible.
  /// Throws:   channel_closed once the channel is closed and drained; bad_wait; wait_in_algorithm.
  T recv() {
    detail::channel_place<T> place;
    if (receive(place) == outcome::closed) throw channel_closed();
    return place.take();
  }

  /// Like recv(), until a point in time or for a time at most. Empty when the time was up.
  [[nodiscard]] std::optional<T> recv_until(deadline until) { return received(true, until); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<T> recv_for(std::chrono::duration<Rep, Period> duration) {
    return received(true, deadline::after(duration));
  }

  /// Like recv(), but never waits, and is no checkpoint. Empty when there is nothing, closed or not.
  [[nodiscard]] std::optional<T> try_recv() {
    detail::channel_place<T> place;
    place.how = try_receive_item(place.item);
    if (!place.full()) return std::nullopt;
    return place.take();
  }

  /// close(), and what the channel holds is destroyed, and counts as done for join().
  void close_now() { destroy(close_and_empty()); }

  /// `for (T& v : channel)` receives until the channel is closed and drained.
  class iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    T& operator*() const noexcept { return *current_; }
    T* operator->() const noexcept { return &*current_; }
    iterator& operator++() {
      current_ = from_->received(false, {});
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return !i.current_; }

   private:
    friend class channel;
    explicit iterator(channel& from) : from_(&from), current_(from.received(false, {})) {}
    channel* from_;
    mutable std::optional<T> current_;
  };
  iterator begin() { return iterator(*this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend struct detail::select_access;

  static bool sent(holder& item, outcome how) {
    if (how == outcome::closed) throw channel_closed();
    if (how != outcome::done) return false;
    item.release();
    return true;
  }
  static constexpr bool plain = std::is_trivially_move_constructible_v<T>;
  static bool handed(T&& v, handing h) noexcept {
    std::construct_at(static_cast<T*>(h.to->place), std::move(v));
    if (!h.goes_on) go_on(*h.to);
    return true;
  }
  std::optional<T> received(bool throws, deadline until) {
    detail::channel_place<T> place;
    const outcome how = until.is_never() ? receive(place) : receive(place, until);
    if (how == outcome::done) return place.take();
    if (how == outcome::closed && throws) throw channel_closed();
    return std::nullopt;
  }
  static void destroy(detail::channel_item* all) noexcept {
    while (all) delete static_cast<value*>(std::exchange(all, all->next));
  }
};

}  // namespace weft
