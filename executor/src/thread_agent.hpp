#pragma once
// A plain thread as a waiter: it blocks in a futex. Also the threads of the blocking pool.

#include <atomic>
#include <cstdint>

#include "weft/deadline.hpp"
#include "weft/waiter.hpp"

namespace weft::detail {

class thread_agent : public agent {
 public:
  thread_agent() noexcept;
  /// The calling thread's; never freed.
  static thread_agent& mine();
  /// Blocks until the wait is decided, if need be by the deadline.
  void block(deadline until) noexcept;

 private:
  std::atomic<std::uint32_t> signal_{0};
};

/// True on loops' threads, workers and the blocking pool: threads that end before their runtime does.
bool runs_for_weft() noexcept;
void set_runs_for_weft(bool yes) noexcept;

}  // namespace weft::detail
