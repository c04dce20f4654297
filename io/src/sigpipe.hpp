#pragma once
// Calls that send SIGPIPE to the thread that makes them, and take no flag against it: write(2) to a pipe, sendfile(2).

#include <csignal>
#include <ctime>

namespace weft::io::detail {

/// Makes the call, a function that gives what the system call gives, and sees to it that EPIPE comes without the
/// signal. A SIGPIPE that was pending before stays so.
template <class Call>
auto without_sigpipe(Call call) noexcept {
  ::sigset_t pipe;
  ::sigset_t before;
  ::sigset_t pending;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  ::sigpending(&pending);
  const auto result = call();
  const int code = errno;
  // It was sent to this thread, and so it is pending here.
  if (result < 0 && code == EPIPE && ::sigismember(&pending, SIGPIPE) == 0) {
    const ::timespec now{0, 0};
    while (::sigtimedwait(&pipe, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = code;
  return result;
}

}  // namespace weft::io::detail
