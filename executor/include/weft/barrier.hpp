#pragma once
// A meeting point of a fixed number of agents, again and again: std::barrier, with waiters that are suspended.

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "weft/monitor.hpp"

namespace weft {

namespace detail {

class barrier_core : private monitor {
 protected:
  explicit barrier_core(std::ptrdiff_t expected);
  ~barrier_core();

  struct arrival {
    std::uint64_t phase = 0;
    std::size_t before = 0;  ///< how many had arrived in this phase
    bool last = false;       ///< the caller is to complete the phase
  };
  arrival arrive(std::ptrdiff_t n, bool drop);
  void complete() noexcept;
  /// Waits for the end of the phase. `withdraws`: a cancellation takes the caller's arrival back.
  void await(std::uint64_t phase, bool withdraws);

 private:
  struct entry : wait_entry {
    std::uint64_t phase = 0;
  };

  // Inside only.
  std::ptrdiff_t expected_;
  std::ptrdiff_t missing_;
  std::uint64_t phase_ = 0;
  wait_list waiters_;
};

struct nothing_to_complete {
  void operator()() const noexcept {}
};

}  // namespace detail

/// `expected` agents meet; the last to come runs `completion`, then all go on and the next phase begins.
/// Destroying one that is waited for ends the program with a message.
template <class Completion = detail::nothing_to_complete>
  requires std::is_nothrow_invocable_v<Completion&>
class barrier : private detail::barrier_core {
 public:
  class arrival_token {
    friend class barrier;
    explicit arrival_token(std::uint64_t p) noexcept : phase(p) {}
    std::uint64_t phase;
  };

  /// Throws std::invalid_argument unless expected is positive.
  explicit barrier(std::ptrdiff_t expected, Completion completion = {})
      : detail::barrier_core(expected), completion_(std::move(completion)) {}

  /// Arrives, and waits for the others. Gives how many were there before: 0 to expected - 1.
  ///
  /// Suspends: a checkpoint always; switches unless the caller is the last.
  /// Cancel:   throws cancelled; the caller has not arrived then, unless the phase was being completed.
  /// Threads:  any agent, any loop; on a plain thread it blocks. completion runs in the last to arrive.
  /// Ordering: writes before each arrival are visible to completion, and those of completion to all who go on.
  /// Throws:   std::logic_error when more arrive than are expected; bad_wait; wait_in_algorithm.
  std::size_t arrive_and_wait() {
    checkpoint();
    const arrival mine = detail::barrier_core::arrive(1, false);
    if (mine.last)
      finish();
    else
      await(mine.phase, true);
    return mine.before;
  }

  /// Arrives `n` times without waiting. Runs completion when these are the last.
  [[nodiscard]] arrival_token arrive(std::ptrdiff_t n = 1) {
    const arrival mine = detail::barrier_core::arrive(n, false);
    if (mine.last) finish();
    return arrival_token(mine.phase);
  }
  /// Waits for the end of the phase that the token is of. A cancellation leaves the arrival.
  void wait(arrival_token token) {
    checkpoint();
    await(token.phase, false);
  }
  /// Arrives, and is not expected in later phases.
  void arrive_and_drop() {
    if (detail::barrier_core::arrive(1, true).last) finish();
  }

 private:
  void finish() noexcept {
    completion_();
    complete();
  }
  Completion completion_;
};

}  // namespace weft
