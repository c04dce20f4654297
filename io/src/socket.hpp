#pragma once
// A connected stream socket as a transport.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "descriptor.hpp"
#include "socket_calls.hpp"
#include "weft/io/endpoint.hpp"
#include "weft/io/transport.hpp"

namespace weft::io::detail {

/// Throws error for the system's last error.
[[noreturn]] void throw_errno(const char* operation, std::string_view peer);

/// True when a call that does not block would have.
bool would_wait(int code) noexcept;

/// Throws what a wait came to that found nothing ready: timed_out, stream_closed.
[[noreturn]] void throw_ended(descriptor::wait_end how, const char* operation, const std::string& peer);

/// Sets an option of a socket that is an int. False when the system does not know it.
bool set_option(int fd, int level, int name, int value) noexcept;

/// What a socket may cost that was closed with something left to say (close_after()).
struct ending_limits {
  std::chrono::nanoseconds longest = std::chrono::seconds(5);
  std::size_t most_ignored = std::size_t{64} * 1024;  ///< bytes; one who sends more learns that nobody reads
  unsigned most_at_once = 1000;                       ///< in the process; more are closed at once
};
/// Tests set others, while no runtime runs.
inline constinit ending_limits endings;

class socket_transport final : public transport {
 public:
  /// Takes over a socket that does not block.
  socket_transport(unique_fd socket, const endpoint& peer) noexcept : socket_(std::move(socket)), peer_(peer) {}
  /// The same for one that has no endpoint; `name` is for describe().
  socket_transport(unique_fd socket, std::string name) noexcept : socket_(std::move(socket)), name_(std::move(name)) {}
  /// Goes on with the socket of another one.
  socket_transport(descriptor socket, const endpoint& peer, std::string name) noexcept
      : socket_(std::move(socket)), peer_(peer), name_(std::move(name)) {}
  ~socket_transport() override { socket_transport::close(); }

  /// To its peer, an endpoint. Throws cancelled, error.
  void connect(deadline until);

  std::size_t read_some(std::span<std::byte> to, wait_limit limit) override;
  [[nodiscard]] bool tries() const noexcept override { return true; }
  std::optional<std::size_t> try_read(std::span<std::byte> to, std::span<std::byte> more) override;
  [[nodiscard]] bool may_have_some() const noexcept override { return socket_.may_read(); }
  void wait_readable(wait_limit& limit) override;
  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) override;
  std::size_t try_write(std::span<const std::byte> from) noexcept override;
  void shutdown_write(wait_limit limit) override;
  void close() noexcept override;
  void close_after(std::span<const std::byte> last) noexcept override;
  void leave_loop() override { socket_.leave_loop(); }
  [[nodiscard]] int fd() const noexcept { return socket_.fd(); }
  /// The token of the loop that it was used on; 0 for none.
  [[nodiscard]] std::uint32_t loop() const noexcept { return socket_.loop(); }
  [[nodiscard]] std::string describe() const override { return peer_ ? to_string(peer_) : name_; }
  [[nodiscard]] endpoint peer() const override { return peer_; }
  [[nodiscard]] endpoint local() const override;
  [[nodiscard]] int native_handle() noexcept override {
    shared_ = true;
    return socket_.fd();
  }
  unique_fd detach() override { return socket_.detach(); }
  [[nodiscard]] descriptor* plain_descriptor() noexcept override { return &socket_; }

  // try_read() and write_some(), in line; see socket_calls.hpp.
  [[gnu::always_inline]] std::optional<std::size_t> try_read_in_line(std::span<std::byte> to,
                                                                     std::span<std::byte> more) {
    if (!socket_.may_read()) return {};
    if (!peer_ || !more.empty()) return try_read_otherwise(to, more);
    do {
      const ssize_t n = receive(socket_.fd(), to.data(), to.size());
      if (n >= 0) [[likely]]
        return took(static_cast<std::size_t>(n), to.size());
    } while (was_interrupted("read from"));
    socket_.found_empty();
    return {};
  }
  /// `reader` reads where recv(2) is all that it takes: not from a local socket, which may bring descriptors. Null:
  /// none.
  [[gnu::always_inline]] void wait_readable_in_line(wait_limit& limit, early_reader* reader) {
    const auto how = socket_.wait_readable_in_line(limit.start(), peer_ ? reader : nullptr);
    if (how != descriptor::wait_end::ready) throw_ended(how, "read from", describe());
  }
  /// What an early_reader's recv(2) failed with, as if a read had.
  [[noreturn]] void throw_read_error(int code) const;
  [[gnu::always_inline]] std::size_t write_some_in_line(std::span<const std::span<const std::byte>> from,
                                                        wait_limit limit) {
    if (from.size() != 1) return write_some_otherwise(from, limit, false);
    while (socket_.may_write()) {
      const ssize_t n = transmit(socket_.fd(), from[0].data(), from[0].size());
      if (n >= 0) [[likely]]
        return static_cast<std::size_t>(n);
      if (!was_interrupted("write to")) break;
    }
    return write_some_otherwise(from, limit, true);
  }

 private:
  /// Of so much room: what a read has given.
  std::size_t took(std::size_t n, std::size_t room) noexcept {
    if (n == 0)
      ended_ = true;
    else if (n < room)
      socket_.took_all();
    return n;
  }
  bool was_interrupted(const char* operation) const;
  std::optional<std::size_t> try_read_otherwise(std::span<std::byte> to, std::span<std::byte> more);
  /// `full`: there is no room, which must be waited for first.
  std::size_t write_some_otherwise(std::span<const std::span<const std::byte>> from, wait_limit limit, bool full);
  void discard_received() noexcept;

  descriptor socket_;
  const endpoint peer_;
  const std::string name_;
  bool ended_ = false;   // a read came to the end
  bool shared_ = false;  // others may have the descriptor, and what it has received
};

/// A listening socket.
class socket_acceptor final : public acceptor {
 public:
  /// Takes over a socket that does not block. `name`, for describe(), is that of a socket without endpoint; `file` is
  /// what close() removes, if it is still the same.
  explicit socket_acceptor(unique_fd socket, std::string name = {}, std::string file = {});
  ~socket_acceptor() override { socket_acceptor::close(); }

  std::unique_ptr<transport> accept() override;
  void close() noexcept override;
  [[nodiscard]] std::string describe() const override { return local_ ? to_string(local_) : name_; }
  [[nodiscard]] endpoint local() const override { return local_; }
  [[nodiscard]] int native_handle() const noexcept override { return socket_.fd(); }

 private:
  descriptor socket_;
  const endpoint local_;
  const std::string name_;
  std::string file_;
  std::uint64_t device_ = 0;
  std::uint64_t inode_ = 0;
};

/// Where a bound socket is bound; none when it cannot be told.
endpoint local_endpoint(int fd) noexcept;

}  // namespace weft::io::detail
