#pragma once
// A connected stream socket as a transport.

#include <memory>
#include <string_view>
#include <utility>

#include "descriptor.hpp"
#include "weft/io/endpoint.hpp"
#include "weft/io/transport.hpp"

namespace weft::io::detail {

/// Throws error for the system's last error.
[[noreturn]] void throw_errno(const char* operation, std::string_view peer);

/// Sets an option of a socket that is an int. False when the system does not know it.
bool set_option(int fd, int level, int name, int value) noexcept;

class socket_transport final : public transport {
 public:
  /// Takes over a socket that does not block.
  socket_transport(unique_fd socket, const endpoint& peer) noexcept : socket_(std::move(socket)), peer_(peer) {}

  /// Throws cancelled, error.
  void connect(deadline until);

  std::size_t read_some(std::span<std::byte> to, wait_limit limit) override;
  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) override;
  void shutdown_write() override;
  void close() noexcept override { socket_.close(); }
  void leave_loop() override { socket_.leave_loop(); }
  [[nodiscard]] std::string describe() const override { return to_string(peer_); }
  [[nodiscard]] endpoint peer() const override { return peer_; }
  [[nodiscard]] endpoint local() const override;
  [[nodiscard]] int native_handle() noexcept override { return socket_.fd(); }

 private:
  void check(descriptor::wait_end how, const char* operation) const;

  descriptor socket_;
  const endpoint peer_;
};

/// Where a bound socket is bound; none when it cannot be told.
endpoint local_endpoint(int fd) noexcept;

}  // namespace weft::io::detail
