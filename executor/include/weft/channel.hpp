#pragma once
// A queue between agents that bounds itself: senders wait while it is full, receivers while it is empty.

#include <chrono>
#include <cstddef>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "weft/channel_core.hpp"
#include "weft/deadline.hpp"
#include "weft/error.hpp"
#include "weft/future_core.hpp"

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
///
/// One between loops is a little faster on a cache line of its own: alignas(64) weft::channel<T>. (Not in a coroutine:
/// GCC makes frames that are less aligned.)
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
