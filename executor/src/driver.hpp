#pragma once
// What a loop needs of the world below it: time, and a place to sleep that events and other threads can end.
// asio_driver is the real one; a simulation has its own.

#include "weft/deadline.hpp"
#include "weft/loop.hpp"

namespace weft::detail {

class driver {
 public:
  driver() = default;
  driver(const driver&) = delete;
  driver& operator=(const driver&) = delete;
  virtual ~driver() = default;

  /// The loop's thread only. Handles events that are there; when there are none, sleeps until one comes, `until` passes
  /// or wake() is called. time_point::min() means not to sleep. May come back early. False when there was nothing, not
  /// even a wake().
  virtual bool poll(clock::time_point until) = 0;
  /// After a poll that may have slept: what that found and left, for the loop was not awake yet.
  virtual void handle() {}

  /// Any thread. Ends a sleep, or the next one.
  virtual void wake() noexcept = 0;

  [[nodiscard]] virtual clock::time_point now() const noexcept = 0;
  /// The loop's thread only. Not earlier than now(), and a few microseconds later at the most, for less: for deadlines.
  [[nodiscard]] virtual clock::time_point now_or_later() noexcept { return now(); }
  [[nodiscard]] virtual asio::io_context& context() = 0;
  /// Where it sleeps, for descriptors whose event_taker is to be told; it is asked for context() first.
  [[nodiscard]] virtual int epoll() { return -1; }
};

}  // namespace weft::detail
