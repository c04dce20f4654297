#pragma once
// What a bad day does to system calls. The program that this is linked into has functions of its own in front of the C
// library's, so the library under test is the one that is shipped.
//
// The faults are such as the system may make at any time. So a call that finds nothing ready, or takes a part, is
// followed by an edge, as if what was missing came right after: without that every program that works with edges would
// hang.

#include <cstdint>

namespace weft::testing {

/// One call in so many on sockets and pipes; 0: none.
struct fault_rates {
  unsigned interrupted = 0;  ///< EINTR: nothing was done, but that a connect() goes on
  unsigned not_ready = 0;    ///< EAGAIN: nothing was done
  unsigned partial = 0;      ///< a drawn part is moved
  unsigned accepts = 0;      ///< accept4() fails in one of the ways that accept(2) lists
};

enum class faulty_call : std::uint8_t { receive, send, accept, epoll_add, connect };

/// While it lives. One at a time.
class faults {
 public:
  explicit faults(const fault_rates& rates);
  ~faults();
  faults(const faults&) = delete;
  faults& operator=(const faults&) = delete;

  /// So many faults were made by rate.
  [[nodiscard]] static std::uint64_t made() noexcept;
};

/// After `passing` of them, the next `count` calls fail with `code`, and do nothing.
void fail_calls(faulty_call what, unsigned passing, unsigned count, int code) noexcept;
/// How many of those are still to come.
[[nodiscard]] unsigned failures_to_come(faulty_call what) noexcept;

}  // namespace weft::testing
