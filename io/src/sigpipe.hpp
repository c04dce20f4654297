#pragma once
// Calls that send SIGPIPE to the thread that makes them, and take no flag against it: write(2) to a pipe, sendfile(2).

#include <cerrno>
#include <csignal>
#include <ctime>

namespace weft::io::detail {

/// Makes the call, a function that gives what the system call gives, and sees to it that no SIGPIPE comes of it.
/// Leaves the call's errno.
template <class Call>
auto without_sigpipe(Call call) noexcept {
  ::sigset_t pipe;
  ::sigset_t before;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  const auto result = call();
  const int code = errno;
  if (::sigismember(&before, SIGPIPE) == 0) {
    // Sent to this thread, it is pending here; also after a call that moved a beginning before it met the end.
    const ::timespec now{0, 0};
    while (::sigtimedwait(&pipe, nullptr, &now) < 0 && errno == EINTR) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  errno = code;
  return result;
}

}  // namespace weft::io::detail
