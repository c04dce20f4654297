// TCP echo on standalone Asio with C++20 coroutines.

#include <array>
#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include "../support/asio_server.hpp"

namespace {

asio::awaitable<void> echo(asio::ip::tcp::socket socket) {
  std::array<char, 16 * 1024> buffer;
  std::error_code error;
  for (;;) {
    const std::size_t size =
        co_await socket.async_read_some(asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    co_await asio::async_write(socket, asio::buffer(buffer, size), asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto start = [](asio::ip::tcp::socket socket) {
    const auto executor = socket.get_executor();
    asio::co_spawn(executor, echo(std::move(socket)), asio::detached);
  };
  bench::asio_server(bench::server_arguments(argc, argv), start).run();
  return 0;
}
