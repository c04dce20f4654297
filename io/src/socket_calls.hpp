#pragma once
// recv(2) and send(2) on a socket, in line and without waiting.
//
// In line, for after a system call a core expects returns to go anywhere but to the callers: the kernel has made many
// calls of its own since. So each function between the system call and who wanted it costs some twenty cycles (7.5 ns
// here), and the C library's is one.
//
// Not by the C library's functions in any case: they are points where pthread_cancel(3) may strike, which costs four
// locked instructions a request in a program with threads, and loops are not cancelled that way. But sanitizers are to
// see the call, and what it does to memory.

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace weft::io::detail {

/// False in a program whose own functions stand in front of the C library's, to make faults (tests/faults).
inline constinit std::atomic<bool> system_calls_in_line{true};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEFT_SOCKET_CALLS_ARE_SEEN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEFT_SOCKET_CALLS_ARE_SEEN 1
#endif
#endif

#if defined(WEFT_SOCKET_CALLS_ARE_SEEN)

inline ssize_t receive(int fd, void* to, std::size_t size) noexcept { return ::recv(fd, to, size, MSG_DONTWAIT); }
inline ssize_t transmit(int fd, const void* from, std::size_t size) noexcept {
  return ::send(fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

#else

/// recvfrom(2) or sendto(2) without an address. -1 for an error, and errno.
[[gnu::always_inline]] inline ssize_t transfer(long call, int fd, const void* memory, std::size_t size,
                                               int flags) noexcept {
#if defined(__x86_64__)
  if (system_calls_in_line.load(std::memory_order_relaxed)) [[likely]] {
    long result = call;
    register long with asm("r10") = flags;
    register const void* address asm("r8") = nullptr;
    register std::size_t length asm("r9") = 0;
    asm volatile("syscall"
                 : "+a"(result)
                 : "D"(static_cast<long>(fd)), "S"(memory), "d"(size), "r"(with), "r"(address), "r"(length)
                 : "rcx", "r11", "cc", "memory");
    if (result >= 0) [[likely]]
      return result;
    errno = static_cast<int>(-result);
    return -1;
  }
#endif
  return ::syscall(call, fd, memory, size, flags, nullptr, 0);
}

// MSG_DONTWAIT, for a socket may be shared with a process that wants it to block (standard_input()).
[[gnu::always_inline]] inline ssize_t receive(int fd, void* to, std::size_t size) noexcept {
  return transfer(SYS_recvfrom, fd, to, size, MSG_DONTWAIT);
}
[[gnu::always_inline]] inline ssize_t transmit(int fd, const void* from, std::size_t size) noexcept {
  return transfer(SYS_sendto, fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

#endif

}  // namespace weft::io::detail
