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

#include "socket.hpp"
#include "weft/loop.hpp"

namespace weft::io {
namespace {

constexpr int first_passed = 3;  // SD_LISTEN_FDS_START

std::optional<long> number_in(const char* variable) noexcept {
  const char* text = std::getenv(variable);
  if (!text) return {};
  const std::string_view digits(text);
  long n = 0;
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

std::vector<passed_socket> take_passed_sockets() {
  static std::atomic<bool> taken{false};
  const auto count = number_in("LISTEN_FDS");
  if (!count || *count <= 0 || number_in("LISTEN_PID") != ::getpid() || taken.exchange(true)) return {};
  const char* text = std::getenv("LISTEN_FDNAMES");
  std::string_view names(text ? text : "");
  std::vector<passed_socket> all;
  for (int fd = first_passed; fd < first_passed + *count; ++fd) {
    const auto name = names.substr(0, names.find(':'));
    names.remove_prefix(std::min(name.size() + 1, names.size()));
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags < 0) break;  // fewer than were told
    ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    all.push_back({unique_fd(fd), std::string(name)});
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
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) detail::throw_errno("listen on", what);
  return listener(std::make_unique<detail::socket_acceptor>(std::move(socket), local_name(fd)));
}

}  // namespace weft::io
