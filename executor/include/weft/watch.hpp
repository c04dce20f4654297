#pragma once
// The latest value of something, and waiting for a newer one.

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "weft/deadline.hpp"
#include "weft/error.hpp"
#include "weft/feed.hpp"

namespace weft {

namespace detail {

/// All of a watch but the value. A value is immutable and shared, so none is copied or destroyed inside.
class watch_core : private feed {
 protected:
  using holder = std::shared_ptr<const void>;
  struct seen {
    holder value;
    std::uint64_t version = 0;
    bool closed = false;
  };

  explicit watch_core(holder initial) noexcept : value_(std::move(initial)) { count_ = 1; }
  ~watch_core();

  /// Gives the old value, to be destroyed by the caller. Null when it is closed: nothing has changed.
  holder put(holder value);
  [[nodiscard]] seen look() const noexcept;
  /// Waits until there is a newer value than `version`, or it is closed, or the time is up (then value is null).
  seen await(std::uint64_t version, deadline until);
  using feed::end;

 private:
  holder value_;  // inside only; its version is the feed's count
};

}  // namespace detail

/// One value that is replaced, and read by many: a configuration, a state. Receivers see the latest, not every one.
/// Destroying one that is waited for ends the program with a message; close it first.
template <class T>
class watch : private detail::watch_core {
 public:
  explicit watch(T initial) : watch_core(std::make_shared<const T>(std::move(initial))) {}

  /// Replaces the value and wakes those who wait for a newer one.
  ///
  /// Suspends: never, but where another thread uses the watch at the same moment.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: writes before it are visible to whoever sees the value.
  /// Throws:   channel_closed; std::bad_alloc.
  void send(T value) {
    if (!put(std::make_shared<const T>(std::move(value)))) throw channel_closed();
  }

  /// The latest value. It stays as it is while it is held.
  ///
  /// Suspends: never, but where another thread uses the watch at the same moment.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: writes before its send() are visible.
  /// Throws:   nothing.
  [[nodiscard]] std::shared_ptr<const T> get() const noexcept {
    return std::static_pointer_cast<const T>(look().value);
  }

  /// No value comes any more: who waits, and who comes to wait, gets channel_closed. The value can still be read.
  /// Never waits.
  void close() noexcept { end(); }

  /// Sees one value after another, skipping those that were replaced meanwhile. One agent at a time.
  class receiver {
   public:
    /// The first recv() gives the value that is there.
    explicit receiver(watch& from) noexcept : from_(&from) {}

    /// The latest value that this receiver has not seen; waits until there is one.
    ///
    /// Suspends: a checkpoint always; switches when there is none, else every 128th call.
    /// Cancel:   throws cancelled; the next call gives what this one would have.
    /// Threads:  any agent, any loop; on a plain thread it blocks.
    /// Ordering: writes before its send() are visible.
    /// Throws:   channel_closed once the watch is closed and its last value was seen; bad_wait; wait_in_algorithm.
    std::shared_ptr<const T> recv() { return next({}); }
    /// Like recv(), for a time at most. Null when the time was up.
    template <class Rep, class Period>
    [[nodiscard]] std::shared_ptr<const T> recv_for(std::chrono::duration<Rep, Period> duration) {
      return next(deadline::after(duration));
    }
    /// True when recv() would give a value without waiting.
    [[nodiscard]] bool has_changed() const noexcept { return from_->look().version > version_; }

   private:
    std::shared_ptr<const T> next(deadline until) {
      seen s = from_->await(version_, until);
      if (s.closed) throw channel_closed();
      if (s.value) version_ = s.version;
      return std::static_pointer_cast<const T>(std::move(s.value));
    }
    watch* from_;
    std::uint64_t version_ = 0;
  };
};

}  // namespace weft
