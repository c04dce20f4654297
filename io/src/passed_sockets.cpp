#include "weft/io/passed_sockets.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "passed_listing.hpp"
#include "socket.hpp"
#include "weft/loop.hpp"

namespace weft::io {
namespace {

constexpr int first_passed = 3;  // SD_LISTEN_FDS_START

template <class Number>
std::optional<Number> number_in(const char* text) noexcept {
  if (!text) return {};
  const std::string_view digits(text);
  Number n = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  if (code != std::errc() || end != digits.data() + digits.size()) return {};
  return n;
}

int option(int fd, int name) noexcept {
  int value = -1;
  ::socklen_t size = sizeof(value);
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

std::string local_name(int fd) {
  ::sockaddr_un at{};
  ::socklen_t size = sizeof(at);
  if (::getsockname(fd, reinterpret_cast<::sockaddr*>(&at), &size) != 0 || at.sun_family != AF_UNIX) return {};
  if (size <= offsetof(::sockaddr_un, sun_path)) return {};
  std::string name(at.sun_path, size - offsetof(::sockaddr_un, sun_path));
  if (name.front() == '\0') return "@" + name.substr(1);
  return name.c_str();  // the zero behind it may be counted
}

}  // namespace

namespace detail {

passed_listing::passed_listing(const char* pid, const char* count, const char* names, ::pid_t self) noexcept
    : names_(names ? names : "") {
  if (number_in<::pid_t>(pid) == self) left_ = number_in<int>(count).value_or(0);
}

std::string passed_listing::next() {
  --left_;
  const auto name = names_.substr(0, names_.find(':'));
  names_.remove_prefix(std::min(name.size() + 1, names_.size()));
  return std::string(name);
}

}  // namespace detail

std::vector<passed_socket> take_passed_sockets() {
  static std::atomic<bool> taken{false};
  detail::passed_listing listed(std::getenv("LISTEN_PID"), std::getenv("LISTEN_FDS"), std::getenv("LISTEN_FDNAMES"),
                                ::getpid());
  if (!listed.has_next() || taken.exchange(true)) return {};
  std::vector<passed_socket> all;
  for (int fd = first_passed; listed.has_next(); ++fd) {
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags < 0) break;  // fewer than were told
    ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    unique_fd owned(fd);
    all.push_back({std::move(owned), listed.next()});
  }
  return all;
}

listener adopt_listener(unique_fd socket) {
  (void)this_io_context();  // real IO needs a real loop
  const int fd = socket.get();
  const std::string what = "descriptor " + std::to_string(fd);
  if (option(fd, SO_ACCEPTCONN) != 1 || option(fd, SO_TYPE) != SOCK_STREAM)
    throw error(std::error_code(EINVAL, std::system_category()), "listen on", what, 0,
                "it is no stream socket that listens");
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    detail::throw_errno("listen on", what);
  return listener(std::make_unique<detail::socket_acceptor>(std::move(socket), local_name(fd)));
}

}  // namespace weft::io
