#pragma once
// One of several: receives, sends, futures, a timer. Go's select.

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "weft/channel.hpp"
#include "weft/deadline.hpp"
#include "weft/future.hpp"
#include "weft/waiter.hpp"

namespace weft {

namespace detail {

/// One of the things that a select waits for; on its frame.
class select_arm {
 public:
  /// Does it, if it can be done without waiting.
  virtual bool try_now() { return false; }
  /// Waits for it. True when it was done at once, and the wait is over.
  virtual bool begin(agent&, const waker&) { return false; }
  /// Ends the waiting. True when it was done.
  virtual bool end() noexcept { return false; }

  deadline when;          ///< a timer's
  bool for_want = false;  ///< chosen when no other can be

 protected:
  ~select_arm() = default;
};

/// The index of the arm that was done.
std::size_t choose(std::span<select_arm* const> arms);

/// The way into a channel.
struct select_access {
  using outcome = channel_core::outcome;
  using turn = channel_core::turn;

  static bool begin(channel_core& c, turn& t, bool sends, const waker& who) noexcept;
  /// True when it was done; then t.how says what.
  static bool end(channel_core& c, turn& t) noexcept;

  /// Gives the value to a receiver that waits, if one does.
  template <class T, class Order>
  static bool hand_over(channel<T, Order>& c, T&& value) noexcept {
    const auto h = c.try_hand_over(c.plain);
    return h.to && c.handed(std::move(value), h);
  }
  static outcome try_send(channel_core& c, channel_item& item) noexcept;
  static outcome try_receive(channel_core& c, channel_item*& item) noexcept;
};

struct throw_closed {
  [[noreturn]] void operator()() const { throw channel_closed(); }
};

template <class T, class Order, class F, class K>
class recv_arm final : public select_arm {
 public:
  recv_arm(channel<T, Order>& from, F f, K k) : from_(from), f_(std::move(f)), k_(std::move(k)) {}
  bool try_now() override {
    turn_.how = select_access::try_receive(from_, turn_.item);
    return turn_.how != select_access::outcome::full_or_empty;
  }
  bool begin(agent&, const waker& who) override { return select_access::begin(from_, turn_, false, who); }
  bool end() noexcept override { return select_access::end(from_, turn_); }
  void run() {
    if (turn_.how == select_access::outcome::closed)
      std::invoke(k_);
    else
      std::invoke(f_, turn_.take());
  }

 private:
  channel<T, Order>& from_;
  F f_;
  K k_;
  channel_place<T> turn_;
};

template <class T, class Order, class F>
class send_arm final : public select_arm {
 public:
  send_arm(channel<T, Order>& to, T&& value, F f) : to_(to), value_(value), f_(std::move(f)) {}
  send_arm(channel<T, Order>& to, const T& value, F f) : to_(to), copy_(value), value_(*copy_), f_(std::move(f)) {}
  bool try_now() override {
    if (!item_) {
      if (select_access::hand_over(to_, std::move(value_))) return true;
      item_.emplace(std::move(value_));
    }
    turn_.how = select_access::try_send(to_, *item_->get());
    return turn_.how != select_access::outcome::full_or_empty;
  }
  bool begin(agent&, const waker& who) override {
    turn_.item = item_->get();
    return select_access::begin(to_, turn_, true, who);
  }
  bool end() noexcept override { return select_access::end(to_, turn_); }
  void run() {
    if (turn_.how == select_access::outcome::closed) throw channel_closed();
    if (item_) item_->release();
    std::invoke(f_);
  }

 private:
  channel<T, Order>& to_;
  std::optional<T> copy_;
  T& value_;
  F f_;
  std::optional<channel_holder<T>> item_;
  select_access::turn turn_;
};

template <class T, class F>
class ready_arm final : public select_arm {
 public:
  ready_arm(const future<T>& what, F f) : what_(what), f_(std::move(f)) {
    if (!what.valid()) throw no_state();
  }
  bool try_now() override { return what_.ready(); }
  bool begin(agent& me, const waker& who) override {
    node_.emplace(me, who, true);
    if (node_->link(*future_access::state(what_))) return false;
    node_.reset();
    done_ = who.claim();
    return done_;
  }
  bool end() noexcept override {
    if (!node_) return done_;
    done_ = node_->fired();
    if (!done_) node_->leave(*future_access::state(what_));
    node_.reset();
    return done_;
  }
  void run() {
    if constexpr (std::invocable<F&, const future<T>&>)
      std::invoke(f_, what_);
    else
      std::invoke(f_);
  }

 private:
  const future<T>& what_;
  F f_;
  std::optional<future_waiter> node_;
  bool done_ = false;
};

template <class F>
class plain_arm final : public select_arm {
 public:
  plain_arm(deadline d, bool otherwise, F f) : f_(std::move(f)) {
    when = d;
    for_want = otherwise;
  }
  void run() { std::invoke(f_); }

 private:
  F f_;
};

}  // namespace detail

/// An arm of select: receives from `ch` and calls f(value). Closed and drained, it can be done too, and calls k(): by
/// default select throws channel_closed.
template <class T, class Order, class F, class K = detail::throw_closed>
[[nodiscard]] auto on_recv(channel<T, Order>& ch, F f, K k = {}) {
  return detail::recv_arm<T, Order, F, K>(ch, std::move(f), std::move(k));
}
/// An arm of select: sends `value` and calls g(). Not chosen, `value` is still yours. Closed: channel_closed.
template <class T, class Order, class U, class G>
  requires std::constructible_from<T, U&&>
[[nodiscard]] auto on_send(channel<T, Order>& ch, U&& value, G g) {
  return detail::send_arm<T, Order, G>(ch, std::forward<U>(value), std::move(g));
}
/// An arm of select: waits until `what` is ready and calls h(what) or h(). The future is neither taken nor cancelled.
template <class T, class H>
[[nodiscard]] auto on_ready(const future<T>& what, H h) {
  return detail::ready_arm<T, H>(what, std::move(h));
}
/// An arm of select: chosen when the time is up. Counts from the making of the arm.
template <class Rep, class Period, class K>
[[nodiscard]] auto after(std::chrono::duration<Rep, Period> duration, K k) {
  return detail::plain_arm<K>(deadline::after(duration), false, std::move(k));
}
/// An arm of select: chosen when no other can be chosen at once. Then select never waits (Go's default).
template <class K>
[[nodiscard]] auto otherwise(K k) {
  return detail::plain_arm<K>({}, true, std::move(k));
}

/// Waits until one of the arms can be done, does it, and calls its function in the caller. Gives the arm's index.
/// When several can be done, each has the same chance. Exactly one is done; the others have done nothing.
///
/// Suspends: a checkpoint always; switches when no arm can be done, else every 128th call.
/// Cancel:   throws cancelled; no arm was done.
/// Threads:  any agent, any loop; on a plain thread it blocks.
/// Ordering: as the chosen arm's.
/// Throws:   what the chosen function throws; channel_closed; no_state; bad_wait without an arm, or on a loop's own
///           stack; wait_in_algorithm.
template <std::derived_from<detail::select_arm>... Arms>
std::size_t select(Arms&&... arms) {
  const std::array<detail::select_arm*, sizeof...(Arms)> all{&arms...};
  const std::size_t chosen = detail::choose(all);
  std::size_t i = 0;
  ((i++ == chosen ? arms.run() : void()), ...);
  return chosen;
}

}  // namespace weft
