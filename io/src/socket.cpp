#include "socket.hpp"

#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <vector>

#include "sockaddr.hpp"
#include "socket_calls.hpp"
#include "weft/error.hpp"
#include "weft/io/error.hpp"
#include "weft/loop.hpp"
#include "weft/spawn.hpp"
#include "weft/this_fiber.hpp"

namespace weft::io::detail {
namespace {

// These are out of line, for their arrays would else be in the frame of every read and write, and push what is beneath
// it into other cache lines.

// The same from a local socket, where recv(2) stops behind a byte that carries a descriptor, though there be more. Then
// `stopped`: nobody made room for the descriptor (MSG_CTRUNC), and it was closed.
[[gnu::noinline]] ssize_t receive_local(int fd, void* to, std::size_t size, bool& stopped) noexcept {
  ::iovec piece{to, size};
  ::msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  const ssize_t n = ::recvmsg(fd, &message, MSG_DONTWAIT);
  stopped = (message.msg_flags & MSG_CTRUNC) != 0;
  return n;
}

[[gnu::noinline]] ssize_t receive_pieces(int fd, std::span<std::byte> to, std::span<std::byte> more) noexcept {
  std::array<::iovec, 2> pieces{::iovec{to.data(), to.size()}, ::iovec{more.data(), more.size()}};
  ::msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  return ::recvmsg(fd, &message, MSG_DONTWAIT);
}

[[gnu::noinline]] ssize_t transmit_pieces(int fd, std::span<const std::span<const std::byte>> from) noexcept {
  constexpr std::size_t most = 16;
  std::array<::iovec, most> pieces;
  const std::size_t count = std::min(from.size(), most);
  for (std::size_t i = 0; i < count; ++i) pieces[i] = {const_cast<std::byte*>(from[i].data()), from[i].size()};
  ::msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  return ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

void throw_errno(const char* operation, std::string_view peer) {
  throw error(std::error_code(errno, std::system_category()), operation, peer);
}

bool would_wait(int code) noexcept { return code == EAGAIN || code == EWOULDBLOCK; }

void throw_ended(descriptor::wait_end how, const char* operation, const std::string& peer) {
  if (how == descriptor::wait_end::closed) throw stream_closed(operation, peer);
  throw timed_out("timed out: " + std::string(operation) + " " + peer + ": the other side was too slow");
}

bool set_option(int fd, int level, int name, int value) noexcept {
  return ::setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

endpoint local_endpoint(int fd) noexcept {
  socket_address address;
  if (fd < 0 || ::getsockname(fd, address.get(), &address.size) != 0) return {};
  return address.value();
}

void socket_transport::connect(deadline until) {
  constexpr auto operation = "connect to";
  socket_address address(peer_);
  const int fd = socket_.fd();
  bool connected = ::connect(fd, address.get(), address.size) == 0;
  endpoint there = peer_;  // but 0.0.0.0, say, stands for another
  // EINTR, too: the attempt goes on.
  if (!connected && errno != EINPROGRESS && errno != EINTR) throw_errno(operation, describe());
  while (!connected) {
    if (socket_.wait_writable(until) == descriptor::wait_end::timed_out)
      throw error(std::error_code(ETIMEDOUT, std::system_category()), operation, describe());
    int code = 0;
    ::socklen_t size = sizeof(code);
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) throw_errno(operation, describe());
    if (code != 0) throw error(std::error_code(code, std::system_category()), operation, describe());
    // An edge may be older than the socket's name for it; a socket that is connected has a peer.
    socket_address peer;
    connected = ::getpeername(fd, peer.get(), &peer.size) == 0;
    if (connected) {
      there = peer.value();
    } else {
      if (errno != ENOTCONN) throw_errno(operation, describe());
      socket_.found_full();
    }
  }
  // Where nobody listens, on a port that the system gives to those who connect, it may have given us that very one:
  // then both ends are ours (RFC 9293, 3.5), and who is to listen there finds the port in use.
  if (local_endpoint(fd) == there)
    throw error(std::error_code(ECONNREFUSED, std::system_category()), operation, describe());
}

std::optional<std::size_t> socket_transport::try_read(std::span<std::byte> to, std::span<std::byte> more) {
  return try_read_in_line(to, more);
}

std::optional<std::size_t> socket_transport::try_read_otherwise(std::span<std::byte> to, std::span<std::byte> more) {
  const std::size_t room = peer_ ? to.size() + more.size() : to.size();
  do {
    bool stopped = false;
    const ssize_t n =
        peer_ ? receive_pieces(socket_.fd(), to, more) : receive_local(socket_.fd(), to.data(), to.size(), stopped);
    if (n >= 0) return took(static_cast<std::size_t>(n), stopped ? 0 : room);
  } while (was_interrupted("read from"));
  socket_.found_empty();
  return {};
}

// After a call that has failed: false when it found nothing ready.
bool socket_transport::was_interrupted(const char* operation) const {
  if (errno == EINTR) return true;
  if (!would_wait(errno)) throw_errno(operation, describe());
  return false;
}

void socket_transport::throw_read_error(int code) const {
  throw error(std::error_code(code, std::system_category()), "read from", describe());
}

void socket_transport::wait_readable(wait_limit& limit) {
  const auto how = socket_.wait_readable(limit.start());
  if (how != descriptor::wait_end::ready) throw_ended(how, "read from", describe());
}

std::size_t socket_transport::read_some(std::span<std::byte> to, wait_limit limit) {
  for (;;) {
    if (const auto n = socket_transport::try_read(to, {})) return *n;
    socket_transport::wait_readable(limit);
  }
}

std::size_t socket_transport::write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) {
  return write_some_in_line(from, limit);
}

std::size_t socket_transport::write_some_otherwise(std::span<const std::span<const std::byte>> from, wait_limit limit,
                                                   bool full) {
  for (;; full = false) {
    while (!full && socket_.may_write()) {
      const ssize_t n = from.size() == 1 ? transmit(socket_.fd(), from[0].data(), from[0].size())
                                         : transmit_pieces(socket_.fd(), from);
      if (n >= 0) return static_cast<std::size_t>(n);
      full = !was_interrupted("write to");
    }
    if (full) socket_.found_full();
    const auto how = socket_.wait_writable(limit.start());
    if (how != descriptor::wait_end::ready) throw_ended(how, "write to", describe());
  }
}

std::size_t socket_transport::try_write(std::span<const std::byte> from) noexcept {
  const ssize_t n = from.empty() ? 0 : transmit(socket_.fd(), from.data(), from.size());
  return n > 0 ? static_cast<std::size_t>(n) : 0;
}

// --- the end ---

// The system answers the close of a socket with unread bytes by a reset, which drops what was written and is not sent
// yet (RFC 1122, 4.2.2.13), or makes an error of the end. What comes after the close is answered so, too: that is the
// other side's to wait for, with stream::finish().
void socket_transport::discard_received() noexcept {
  constexpr int most = 64;  // for one who sends as fast as this reads
  std::array<std::byte, 8192> some;
  const int fd = socket_.fd();
  for (int i = 0, unread = 0; i < most && ::ioctl(fd, FIONREAD, &unread) == 0 && unread > 0; ++i) {
    const auto n = static_cast<std::size_t>(unread);
    // TCP drops them without a copy (tcp(7)).
    const ssize_t dropped = peer_ ? ::syscall(SYS_recvfrom, fd, nullptr, n, MSG_DONTWAIT | MSG_TRUNC, nullptr, nullptr)
                                  : receive(fd, some.data(), std::min(n, some.size()));
    if (dropped == 0 || (dropped < 0 && errno != EINTR && !would_wait(errno))) return;
  }
}

void socket_transport::close() noexcept {
  if (socket_.fd() < 0) return;
  if (!ended_ && !shared_) discard_received();
  socket_.close();
}

namespace {

constinit std::atomic<unsigned> ends_under_way{0};  // about so many: nothing is ordered by it

// A socket that nobody has any more: sends what is left, and waits for the other side to end, too, or to send much. On
// its loop.
class ending {
 public:
  ending(descriptor& socket, const endpoint& peer, const std::string& name, std::span<const std::byte> last)
      : last_(last.begin(), last.end()),
        socket_(std::make_unique<socket_transport>(std::move(socket), peer, std::string(name))) {}

  void operator()() {
    const deadline until = deadline::after(endings.longest);
    try {
      for (std::span<const std::byte> rest = last_; !rest.empty();)
        rest = rest.subspan(socket_->write_some(std::span(&rest, 1), until));
      socket_->shutdown_write(until);
      std::array<std::byte, 4096> some;
      for (std::size_t n = 1, came = 0; n > 0 && came < endings.most_ignored; came += n) {
        n = socket_->read_some(some, until);
        checkpoint();
      }
    } catch (const std::exception&) {  // it took too long, or is broken
    }
  }

  [[nodiscard]] std::uint32_t loop() const noexcept { return socket_->loop(); }

 private:
  struct count {
    count() noexcept { ends_under_way.fetch_add(1, std::memory_order_relaxed); }
    count(count&& other) noexcept : mine(std::exchange(other.mine, false)) {}
    count& operator=(count&&) = delete;
    ~count() {
      if (mine) ends_under_way.fetch_sub(1, std::memory_order_relaxed);
    }
    bool mine = true;
  };

  count counted_;
  std::vector<std::byte> last_;
  std::unique_ptr<socket_transport> socket_;
};

constexpr auto name_of_ending = "io: end of a stream";

// Under no scope of the caller's, and so in two steps where the caller is elsewhere.
void begin(ending e) {
  const std::uint32_t home = e.loop();
  if (home == 0 || home == weft::detail::this_loop_token()) {
    (void)spawn(detached, {.name = name_of_ending}, std::move(e));
    return;
  }
  (void)spawn(detached, {.name = name_of_ending}, [home, e = std::move(e)]() mutable {
    for (unsigned i = 0; i < loop_count(); ++i)
      if (weft::detail::token_of(i) == home) (void)spawn(on_loop(i), {.name = name_of_ending}, std::move(e));
  });
}

}  // namespace

void socket_transport::close_after(std::span<const std::byte> last) noexcept {
  last = last.subspan(try_write(last));
  if (socket_.fd() >= 0 && ends_under_way.load(std::memory_order_relaxed) < endings.most_at_once) {
    try {
      begin(ending(socket_, peer_, name_, last));
    } catch (...) {
      // No memory, or no runtime any more: what is not sent is lost.
    }
  }
  close();
}

void socket_transport::shutdown_write(wait_limit /*limit*/) {
  if (::shutdown(socket_.fd(), SHUT_WR) != 0) throw_errno("end", describe());
}

endpoint socket_transport::local() const { return local_endpoint(socket_.fd()); }

// --- listening ---

socket_acceptor::socket_acceptor(unique_fd socket, std::string name, std::string file)
    : socket_(std::move(socket)), local_(local_endpoint(socket_.fd())), name_(std::move(name)), file_(std::move(file)) {
  struct ::stat found {};
  if (file_.empty()) return;
  if (::stat(file_.c_str(), &found) != 0) throw_errno("listen on", name_);
  device_ = found.st_dev;
  inode_ = found.st_ino;
}

std::unique_ptr<transport> socket_acceptor::accept() {
  for (;;) {
    if (socket_.may_read()) {
      socket_address peer;
      // Options are inherited from the listening socket; SOCK_NONBLOCK and SOCK_CLOEXEC are not.
      unique_fd fd(::accept4(socket_.fd(), peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd) {
        const endpoint from = peer.value();
        return from ? std::make_unique<socket_transport>(std::move(fd), from)
                    : std::make_unique<socket_transport>(std::move(fd), "a client of " + describe());
      }
      if (errno == EINTR) continue;
      if (!would_wait(errno)) throw_errno("accept on", describe());
      socket_.found_empty();
    }
    if (socket_.wait_readable({}) == descriptor::wait_end::closed) throw stream_closed("accept on", describe());
  }
}

void socket_acceptor::close() noexcept {
  socket_.close();
  struct ::stat found {};
  if (file_.empty()) return;
  if (::stat(file_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) ::unlink(file_.c_str());
  file_.clear();
}

}  // namespace weft::io::detail
