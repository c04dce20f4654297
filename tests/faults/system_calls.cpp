#include "system_calls.hpp"

#include <dlfcn.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>

#include "../../io/src/socket_calls.hpp"

namespace weft::testing {
namespace {

[[maybe_unused]] const bool calls_come_by_here = [] {
  io::detail::system_calls_in_line = false;
  return true;
}();

// Who may touch what: the rates and counts any thread, without order. What was registered for a descriptor belongs to
// the thread that uses it, as the descriptor does.
struct rates {
  std::atomic<unsigned> interrupted{0};
  std::atomic<unsigned> not_ready{0};
  std::atomic<unsigned> partial{0};
  std::atomic<unsigned> accepts{0};
};
constinit rates now;
constinit std::atomic<std::uint64_t> count_of_faults{0};

struct plan {
  std::atomic<unsigned> passing{0};
  std::atomic<unsigned> count{0};
  std::atomic<int> code{0};
};
constinit std::array<plan, 5> plans;

struct registered {
  std::atomic<int> epoll{-1};
  std::atomic<std::uint32_t> events{0};
  std::atomic<std::uint64_t> data{0};
};
constinit std::array<registered, 4096> registrations;

std::uint32_t draw() noexcept {
  constinit static std::atomic<std::uint32_t> threads{0};
  thread_local std::uint32_t state = 2463534242U + 747796405U * threads.fetch_add(1);
  state ^= state << 13U;
  state ^= state >> 17U;
  state ^= state << 5U;
  return state;
}

bool happens(const std::atomic<unsigned>& rate) noexcept {
  const unsigned one_in = rate.load(std::memory_order_relaxed);
  if (one_in == 0 || draw() % one_in != 0) return false;
  count_of_faults.fetch_add(1, std::memory_order_relaxed);
  return true;
}

// The code of a planned failure; 0 for none.
int planned(faulty_call what) noexcept {
  plan& p = plans[static_cast<std::size_t>(what)];
  if (p.count.load() == 0) return 0;
  for (unsigned left = p.passing.load(); left > 0;)
    if (p.passing.compare_exchange_weak(left, left - 1)) return 0;
  for (unsigned left = p.count.load(); left > 0;)
    if (p.count.compare_exchange_weak(left, left - 1)) return p.code.load();
  return 0;
}

template <class F>
F* next(const char* name) noexcept {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}
#define WEFT_NEXT(name)                             \
  ([]() noexcept {                                  \
    static auto* f = next<decltype(::name)>(#name); \
    return f;                                       \
  }())

// An edge follows, if anything is ready.
void let_an_edge_follow(int fd) noexcept {
  if (fd < 0 || static_cast<std::size_t>(fd) >= registrations.size()) return;
  const registered& r = registrations[static_cast<std::size_t>(fd)];
  const int epoll = r.epoll.load();
  if (epoll < 0) return;
  const int code = errno;
  ::epoll_event e{};
  e.events = r.events.load();
  e.data.u64 = r.data.load();
  WEFT_NEXT(epoll_ctl)(epoll, EPOLL_CTL_MOD, fd, &e);
  errno = code;
}

// True when the call fails at once; errno says how.
bool fails(faulty_call what, int fd) noexcept {
  if (const int code = planned(what)) {
    errno = code;
    return true;
  }
  if (happens(now.interrupted)) {
    errno = EINTR;
    return true;
  }
  if (happens(now.not_ready)) {
    let_an_edge_follow(fd);
    errno = EAGAIN;
    return true;
  }
  return false;
}

std::size_t part_of(std::size_t n) noexcept { return n > 1 && happens(now.partial) ? 1 + draw() % (n - 1) : n; }

template <class Call>
ssize_t receive(int fd, std::size_t size, Call call) noexcept {
  if (fails(faulty_call::receive, fd)) return -1;
  const std::size_t part = part_of(size);
  const ssize_t n = call(part);
  if (part < size && n > 0) let_an_edge_follow(fd);
  return n;
}

template <class Call>
ssize_t transmit(int fd, std::size_t size, Call call) noexcept {
  return fails(faulty_call::send, fd) ? -1 : call(part_of(size));
}

bool is_pipe(int fd) noexcept {
  struct ::stat what {};
  return ::fstat(fd, &what) == 0 && S_ISFIFO(what.st_mode);
}

// The first `size` bytes of some pieces.
struct first_pieces {
  std::array<::iovec, 16> pieces{};
  std::size_t count = 0;

  first_pieces(const ::iovec* from, std::size_t n, std::size_t size) noexcept {
    for (; count < n && count < pieces.size() && size > 0; ++count) {
      pieces[count] = from[count];
      if (pieces[count].iov_len > size) pieces[count].iov_len = size;
      size -= pieces[count].iov_len;
    }
  }
};
std::size_t size_of(const ::iovec* from, std::size_t n) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 0; i < n; ++i) size += from[i].iov_len;
  return size;
}

int accept_error() noexcept {
  constexpr std::array codes = {ECONNABORTED, EMFILE,    ENFILE,       ENOBUFS, ENOMEM,      EPROTO, EPERM,
                                ENETDOWN,     EHOSTDOWN, EHOSTUNREACH, ENONET,  ENETUNREACH, EINTR,  EAGAIN};
  return codes[draw() % codes.size()];
}

}  // namespace

faults::faults(const fault_rates& rates) {
  now.interrupted = rates.interrupted;
  now.not_ready = rates.not_ready;
  now.partial = rates.partial;
  now.accepts = rates.accepts;
  count_of_faults = 0;
}

faults::~faults() { now.interrupted = now.not_ready = now.partial = now.accepts = 0; }

std::uint64_t faults::made() noexcept { return count_of_faults.load(); }

void fail_calls(faulty_call what, unsigned passing, unsigned count, int code) noexcept {
  plan& p = plans[static_cast<std::size_t>(what)];
  p.code = code;
  p.passing = passing;
  p.count = count;
}

unsigned failures_to_come(faulty_call what) noexcept { return plans[static_cast<std::size_t>(what)].count.load(); }

}  // namespace weft::testing

using namespace weft::testing;

// --- in front of the C library's ---

extern "C" {

// What the sockets of weft call, but under a sanitizer; and much else, which passes.
long syscall(long number, ...) noexcept {
  std::va_list more;
  va_start(more, number);
  std::array<long, 6> a{};
  for (long& value : a) value = va_arg(more, long);
  va_end(more);
  const auto pass = [&](std::size_t size) noexcept {
    return WEFT_NEXT(syscall)(number, a[0], a[1], size, a[3], a[4], a[5]);
  };
  const auto size = static_cast<std::size_t>(a[2]);
  if (number == SYS_recvfrom) return receive(static_cast<int>(a[0]), size, pass);
  if (number == SYS_sendto) return transmit(static_cast<int>(a[0]), size, pass);
  if (number == SYS_epoll_pwait && happens(now.interrupted)) {
    errno = EINTR;
    return -1;
  }
  return pass(size);
}

ssize_t recv(int fd, void* to, std::size_t size, int flags) {
  return receive(fd, size, [&](std::size_t part) noexcept { return WEFT_NEXT(recv)(fd, to, part, flags); });
}

ssize_t send(int fd, const void* from, std::size_t size, int flags) {
  return transmit(fd, size, [&](std::size_t part) noexcept { return WEFT_NEXT(send)(fd, from, part, flags); });
}

ssize_t sendmsg(int fd, const ::msghdr* message, int flags) {
  const std::size_t size = message->msg_control ? 1 : size_of(message->msg_iov, message->msg_iovlen);
  return transmit(fd, size, [&](std::size_t part) noexcept {
    if (part == size) return WEFT_NEXT(sendmsg)(fd, message, flags);
    first_pieces some(message->msg_iov, message->msg_iovlen, part);
    ::msghdr less = *message;
    less.msg_iov = some.pieces.data();
    less.msg_iovlen = some.count;
    return WEFT_NEXT(sendmsg)(fd, &less, flags);
  });
}

ssize_t recvmsg(int fd, ::msghdr* message, int flags) {
  const std::size_t size = message->msg_control ? 1 : size_of(message->msg_iov, message->msg_iovlen);
  return receive(fd, size, [&](std::size_t part) noexcept {
    if (part == size) return WEFT_NEXT(recvmsg)(fd, message, flags);
    first_pieces some(message->msg_iov, message->msg_iovlen, part);
    ::msghdr less = *message;
    less.msg_iov = some.pieces.data();
    less.msg_iovlen = some.count;
    const ssize_t n = WEFT_NEXT(recvmsg)(fd, &less, flags);
    message->msg_flags = less.msg_flags;
    return n;
  });
}

ssize_t read(int fd, void* to, std::size_t size) {
  const auto call = [&](std::size_t part) noexcept { return WEFT_NEXT(read)(fd, to, part); };
  return is_pipe(fd) ? receive(fd, size, call) : call(size);
}

ssize_t writev(int fd, const ::iovec* from, int count) {
  if (!is_pipe(fd)) return WEFT_NEXT(writev)(fd, from, count);
  const auto n = static_cast<std::size_t>(count);
  return transmit(fd, size_of(from, n), [&](std::size_t part) noexcept {
    const first_pieces some(from, n, part);
    return WEFT_NEXT(writev)(fd, some.pieces.data(), static_cast<int>(some.count));
  });
}

ssize_t sendfile(int out, int in, ::off_t* offset, size_t size) noexcept {
  return transmit(out, size, [&](std::size_t part) noexcept { return WEFT_NEXT(sendfile)(out, in, offset, part); });
}

int connect(int fd, const ::sockaddr* to, ::socklen_t size) {
  if (const int code = planned(faulty_call::connect)) {
    errno = code;
    return -1;
  }
  const int done = WEFT_NEXT(connect)(fd, to, size);
  if (done == 0 || errno != EINPROGRESS || !happens(now.interrupted)) return done;
  errno = EINTR;
  return -1;
}

int accept4(int fd, ::sockaddr* peer, ::socklen_t* size, int flags) {
  if (fails(faulty_call::accept, fd)) return -1;
  if (happens(now.accepts)) {
    const int code = accept_error();
    if (code == EAGAIN) let_an_edge_follow(fd);
    errno = code;
    return -1;
  }
  return WEFT_NEXT(accept4)(fd, peer, size, flags);
}

int epoll_wait(int epoll, ::epoll_event* events, int most, int timeout) {
  if (happens(now.interrupted)) {
    errno = EINTR;
    return -1;
  }
  return WEFT_NEXT(epoll_wait)(epoll, events, most, timeout);
}

int epoll_ctl(int epoll, int what, int fd, ::epoll_event* event) noexcept {
  if (const int code = what == EPOLL_CTL_ADD ? planned(faulty_call::epoll_add) : 0) {
    errno = code;
    return -1;
  }
  const int done = WEFT_NEXT(epoll_ctl)(epoll, what, fd, event);
  if (done == 0 && static_cast<std::size_t>(fd) < registrations.size()) {
    registered& r = registrations[static_cast<std::size_t>(fd)];
    // Where one is in several epolls, the sockets' own comes last: that of the loop.
    if (what == EPOLL_CTL_DEL) {
      r.epoll = -1;
    } else {
      r.events = event->events;
      r.data = event->data.u64;
      r.epoll = epoll;
    }
  }
  return done;
}

}  // extern "C"
