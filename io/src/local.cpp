#include "weft/io/local.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "descriptor.hpp"
#include "socket.hpp"
#include "stream_access.hpp"
#include "weft/error.hpp"
#include "weft/loop.hpp"
#include "weft/this_fiber.hpp"
#include "weft/waiter.hpp"

namespace weft::io {
namespace {

using detail::stream_access;

struct address {
  explicit address(const local_address& a) noexcept {
    where.sun_family = AF_UNIX;
    // An abstract name has a zero before it, a path one behind it.
    std::memcpy(where.sun_path + (a.is_file() ? 0 : 1), a.name().data(), a.name().size());
    size = static_cast<::socklen_t>(offsetof(::sockaddr_un, sun_path) + 1 + a.name().size());
  }
  [[nodiscard]] const ::sockaddr* get() const noexcept { return reinterpret_cast<const ::sockaddr*>(&where); }
  ::sockaddr_un where{};
  ::socklen_t size = 0;
};

[[noreturn]] void throw_code(int code, const char* operation, const std::string& peer, std::string_view advice = {}) {
  throw error(std::error_code(code, std::system_category()), operation, peer, 0, advice);
}

unique_fd open_socket(const std::string& name) {
  (void)this_io_context();  // real IO needs a real loop
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) detail::throw_errno("open a socket for", name);
  return fd;
}

// True when a socket file is there, and no socket behind it. A socket of another kind asks, so that a listener has no
// connection of it: it is told EPROTOTYPE where there is one, listening or about to.
bool is_stale(const local_address& at, const address& where) {
  struct ::stat found {};
  if (::lstat(at.name().c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return false;
  const unique_fd probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return probe && ::connect(probe.get(), where.get(), where.size) != 0 && errno == ECONNREFUSED;
}

// Held from the look for a stale file until another is in its place: of two who saw it, the second would remove the
// first one's.
unique_fd lock_directory_of(const local_address& at) {
  auto folder = std::filesystem::path(at.name()).parent_path();
  if (folder.empty()) folder = ".";
  unique_fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw_code(EADDRINUSE, "listen on", to_string(at), "another process is starting to listen in this directory");
  return fd;
}

detail::descriptor& local_socket_below(stream& s, const char* operation) {
  stream_access::check_loop(s);
  if (!s.is_open()) throw stream_closed(operation, s.describe());
  detail::descriptor* below = stream_access::carrier(s)->plain_descriptor();
  int family = 0;
  ::socklen_t size = sizeof(family);
  if (!below || ::getsockopt(below->fd(), SOL_SOCKET, SO_DOMAIN, &family, &size) != 0 || family != AF_UNIX)
    throw_code(ENOTSUP, operation, s.describe(), "this stream is no local socket");
  return *below;
}

// Room for more than one, since the system rounds up: what comes must be seen to be closed.
struct control_room {
  alignas(::cmsghdr) std::array<char, CMSG_SPACE(4 * sizeof(int))> bytes{};
};

void take_descriptors(::msghdr& message, std::vector<unique_fd>& all) {
  for (::cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      all.emplace_back(fd);
    }
  }
}

}  // namespace

// --- addresses ---

local_address local_address::file(std::string_view path) {
  if (path.empty() || path.size() >= sizeof(::sockaddr_un::sun_path) || path.find('\0') != path.npos)
    throw std::invalid_argument("a local socket's path has 1 to 107 bytes and no zero; this one has " +
                                std::to_string(path.size()) + ": " + std::string(path));
  return {true, path};
}

local_address local_address::abstract(std::string_view name) {
  if (name.size() >= sizeof(::sockaddr_un::sun_path))
    throw std::invalid_argument("a local socket's name has 107 bytes at most; this one has " +
                                std::to_string(name.size()));
  return {false, name};
}

std::string to_string(const local_address& a) { return a.is_file() ? a.name() : "@" + a.name(); }

// --- connecting and listening ---

stream connect(const local_address& to, const local_connect_options& options) {
  using namespace std::chrono_literals;
  constexpr auto operation = "connect to";
  checkpoint();
  const address where(to);
  const deadline until = options.timeout == no_timeout ? deadline::never() : deadline::after(options.timeout);
  unique_fd fd = open_socket(to_string(to));
  for (auto pause = std::chrono::milliseconds(1); ::connect(fd.get(), where.get(), where.size) != 0;) {
    if (errno == EINTR) continue;
    if (!detail::would_wait(errno)) detail::throw_errno(operation, to_string(to));
    if (until.passed()) throw_code(ETIMEDOUT, operation, to_string(to), "the listener's queue is full");
    sleep_until(std::min(deadline::after(pause), until).when());
    pause = std::min(2 * pause, std::chrono::milliseconds(50));
  }
  return stream(std::make_unique<detail::socket_transport>(std::move(fd), to_string(to)));
}

listener listen(const local_address& at, const local_listen_options& options) {
  const address where(at);
  std::string name = to_string(at);
  unique_fd fd = open_socket(name);
  unique_fd lock;
  if (at.is_file() && options.replace_stale) lock = lock_directory_of(at);

  const auto bind = [&] {
    // No name at all has the system choose one.
    const bool chosen = !at.is_file() && at.name().empty();
    return ::bind(fd.get(), where.get(), chosen ? sizeof(::sa_family_t) : where.size) == 0;
  };
  if (!bind()) {
    int code = errno;
    const bool stale = code == EADDRINUSE && at.is_file() && options.replace_stale && is_stale(at, where);
    if (stale && ::unlink(at.name().c_str()) == 0) code = bind() ? 0 : errno;
    if (code == EADDRINUSE)
      throw_code(code, "listen on", name,
                 "another socket listens there (ss -lxp shows which), or a file is in the way");
    if (code != 0) throw_code(code, "listen on", name);
  }
  struct ::sockaddr_un given {};
  ::socklen_t size = sizeof(given);
  if (!at.is_file() && ::getsockname(fd.get(), reinterpret_cast<::sockaddr*>(&given), &size) == 0)
    name = "@" + std::string(given.sun_path + 1, size - offsetof(::sockaddr_un, sun_path) - 1);

  const auto acceptor_fd = fd.get();
  auto source = std::make_unique<detail::socket_acceptor>(std::move(fd), name, at.is_file() ? at.name() : "");
  if (at.is_file() && options.permissions &&
      ::chmod(at.name().c_str(), static_cast<::mode_t>(*options.permissions)) != 0)
    detail::throw_errno("listen on", name);
  if (::listen(acceptor_fd, options.backlog) != 0) detail::throw_errno("listen on", name);
  return listener(std::move(source));
}

std::pair<stream, stream> local_pair() {
  (void)this_io_context();
  std::array<int, 2> both{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both.data()) != 0)
    detail::throw_errno("make", "a local pair");
  unique_fd one(both[0]);
  unique_fd other(both[1]);
  constexpr auto name = "the other end of a local pair";
  return {stream(std::make_unique<detail::socket_transport>(std::move(one), name)),
          stream(std::make_unique<detail::socket_transport>(std::move(other), name))};
}

// --- what only local sockets can do ---

void send_descriptor(stream& to, int fd) {
  constexpr auto operation = "send a descriptor to";
  const stream_access::writer_turn mine(to);
  checkpoint();
  detail::descriptor& below = local_socket_below(to, operation);
  char mark = 0;
  ::iovec byte{&mark, 1};
  control_room room;
  ::msghdr message{};
  message.msg_iov = &byte;
  message.msg_iovlen = 1;
  message.msg_control = room.bytes.data();
  message.msg_controllen = CMSG_SPACE(sizeof(int));
  ::cmsghdr* c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(c), &fd, sizeof(int));
  auto limit = stream_access::write_limit(to);
  for (;;) {
    stream_access::check_open(to);
    if (below.may_write()) {
      if (::sendmsg(below.fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) return stream_access::count_written(to, 1);
      if (errno == EINTR) continue;
      if (!detail::would_wait(errno)) detail::throw_errno(operation, to.describe());
      below.found_full();
    }
    const auto how = below.wait_writable(limit.start());
    if (how != detail::descriptor::wait_end::ready) detail::throw_ended(how, operation, to.describe());
  }
}

unique_fd recv_descriptor(stream& from) {
  constexpr auto operation = "receive a descriptor from";
  const stream_access::reader_turn mine(from);
  checkpoint();
  detail::descriptor& below = local_socket_below(from, operation);
  if (!from.buffered().empty())
    throw std::logic_error("recv_descriptor(): " + std::to_string(from.buffered().size()) +
                           " bytes are buffered; what comes before a descriptor is to be read with read_exactly()");
  auto limit = stream_access::read_limit(from);
  for (;;) {
    stream_access::check_open_for_reading(from);
    if (below.may_read()) {
      char mark = 0;
      ::iovec byte{&mark, 1};
      control_room room;
      std::vector<unique_fd> all;
      all.reserve(4);  // before they come, so that none is lost for want of memory
      ::msghdr message{};
      message.msg_iov = &byte;
      message.msg_iovlen = 1;
      message.msg_control = room.bytes.data();
      message.msg_controllen = room.bytes.size();
      const auto n = ::recvmsg(below.fd(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
      if (n == 0) throw end_of_stream(operation, from.describe(), 0);
      if (n > 0) {
        stream_access::count_read(from, 1);
        take_descriptors(message, all);
        const bool cut = (message.msg_flags & MSG_CTRUNC) != 0;
        if (all.size() == 1 && !cut) return std::move(all.front());
        if (all.empty() && cut)
          throw_code(EMFILE, operation, from.describe(), "this process has no room for one more (RLIMIT_NOFILE)");
        throw_code(EBADMSG, operation, from.describe(),
                   all.empty() ? "the byte that came carries none" : "the byte that came carries several");
      }
      if (errno == EINTR) continue;
      if (!detail::would_wait(errno)) detail::throw_errno(operation, from.describe());
      below.found_empty();
    }
    const auto how = below.wait_readable(limit.start());
    if (how != detail::descriptor::wait_end::ready) detail::throw_ended(how, operation, from.describe());
  }
}

peer_credentials credentials_of(stream& s) {
  constexpr auto operation = "ask for the credentials of";
  const detail::descriptor& below = local_socket_below(s, operation);
  ::ucred who{};
  ::socklen_t size = sizeof(who);
  if (::getsockopt(below.fd(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) detail::throw_errno(operation, s.describe());
  return {who.pid, who.uid, who.gid};
}

}  // namespace weft::io
