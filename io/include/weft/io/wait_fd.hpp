#pragma once
// Waiting for a descriptor that is not weft's: a database client's, a device's, one that a C library gave out.
//
// The descriptor stays the caller's, who reads and writes it, and closes it. These wait as poll(2) does: for what is
// so, not for what changes; and at times they come back although it is so no more, since another was faster. So make
// descriptors non-blocking.
//
// A number that was closed and given out anew is noticed, and a descriptor that was duplicated does no harm. But the
// system does not tell those who wait when a descriptor is closed: say so before, by notify_closing().

#include <chrono>

#include "weft/deadline.hpp"

namespace weft::io {

/// Waits until a read would not block: data, the end, or an error is there. A regular file is always ready.
///
/// Suspends: always; a regular file: a checkpoint.
/// Cancel:   throws cancelled; nothing was taken.
/// Threads:  any agent; off the loops a fiber waits for the caller. Any number on one descriptor, on any loops.
/// Ordering: what the other side wrote before is visible, where they share memory.
/// Throws:   error: the descriptor is not open, cannot be waited for (a directory), or was closed; no_runtime;
///           std::logic_error in a simulation.
void wait_readable(int fd);

/// Waits until a write would not block: there is room, or an error.
///
/// Suspends: always; a regular file: a checkpoint.
/// Cancel:   throws cancelled; nothing was taken.
/// Threads:  any agent; off the loops a fiber waits for the caller. Any number on one descriptor, on any loops.
/// Ordering: none.
/// Throws:   as wait_readable().
void wait_writable(int fd);

/// Like the former, until a time at most. True when it is ready.
[[nodiscard]] bool wait_readable_until(int fd, deadline until);
[[nodiscard]] bool wait_writable_until(int fd, deadline until);

/// Like the former, for a time at most.
template <class Rep, class Period>
[[nodiscard]] bool wait_readable_for(int fd, std::chrono::duration<Rep, Period> duration) {
  return wait_readable_until(fd, deadline::after(duration));
}
template <class Rep, class Period>
[[nodiscard]] bool wait_writable_for(int fd, std::chrono::duration<Rep, Period> duration) {
  return wait_writable_until(fd, deadline::after(duration));
}

/// Call it before close(2), where somebody may wait: all who wait for `fd` on this loop get error with EBADF.
///
/// Suspends: never.
/// Cancel:   not a cancellation point.
/// Threads:  the loop of those who wait.
/// Ordering: none.
/// Throws:   no_runtime; std::logic_error in a simulation.
void notify_closing(int fd);

}  // namespace weft::io
