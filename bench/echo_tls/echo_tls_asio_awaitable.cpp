// TLS echo on standalone Asio with C++20 coroutines.

#include <array>
#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/redirect_error.hpp>
#include <asio/ssl.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include "../support/asio_server.hpp"
#include "../support/papers.h"

namespace {

asio::awaitable<void> echo(asio::ip::tcp::socket socket, asio::ssl::context& context) {
  asio::ssl::stream<asio::ip::tcp::socket> stream(std::move(socket), context);
  std::array<char, 16 * 1024> buffer;
  std::error_code error;
  co_await stream.async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, error));
  while (!error) {
    const std::size_t size =
        co_await stream.async_read_some(asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    co_await asio::async_write(stream, asio::buffer(buffer, size), asio::redirect_error(asio::use_awaitable, error));
  }
}

}  // namespace

int main(int argc, char** argv) {
  asio::ssl::context context(asio::ssl::context::tls_server);
  bench_use_papers(context.native_handle());
  const auto start = [&](asio::ip::tcp::socket socket) {
    const auto executor = socket.get_executor();
    asio::co_spawn(executor, echo(std::move(socket), context), asio::detached);
  };
  bench::asio_server(bench::server_arguments(argc, argv), start).run();
  return 0;
}
