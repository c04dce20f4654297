// Sends as many bytes as are asked for, on standalone Asio with C++20 coroutines.

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/read.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <cstdint>

#include "../support/asio_server.hpp"
#include "block.hpp"

namespace {

asio::awaitable<void> send(asio::ip::tcp::socket socket) {
  std::error_code error;
  for (;;) {
    std::uint32_t left = 0;
    co_await asio::async_read(socket, asio::buffer(&left, sizeof left),
                              asio::redirect_error(asio::use_awaitable, error));
    while (left > 0 && !error) {
      const auto piece = bench::block().substr(0, left);
      left -= static_cast<std::uint32_t>(co_await asio::async_write(socket, asio::buffer(piece.data(), piece.size()),
                                                                    asio::redirect_error(asio::use_awaitable, error)));
    }
    if (error) co_return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto start = [](asio::ip::tcp::socket socket) {
    const auto executor = socket.get_executor();
    asio::co_spawn(executor, send(std::move(socket)), asio::detached);
  };
  bench::asio_server(bench::server_arguments(argc, argv), start).run();
  return 0;
}
