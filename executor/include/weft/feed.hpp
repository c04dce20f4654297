#pragma once
// What watch and broadcast have in common: a count that goes up, and waiting for it to do so.

#include <cstdint>

#include "weft/deadline.hpp"
#include "weft/monitor.hpp"

namespace weft::detail {

class feed : protected monitor {
 protected:
  feed() noexcept = default;
  ~feed() = default;

  /// Waits until the count is more than `seen`, or the feed was closed. False when the time was up first.
  /// Throws cancelled.
  bool await_beyond(std::uint64_t seen, deadline until);
  /// Nothing comes any more. Never waits.
  void end() noexcept;

  // --- inside ---

  void advance() noexcept;
  [[nodiscard]] bool awaited() const noexcept { return !waiters_.empty(); }

  // Inside only.
  std::uint64_t count_ = 0;
  bool closed_ = false;

 private:
  void wake_all() noexcept;
  wait_list waiters_;
};

}  // namespace weft::detail
