// HTTP/1.1 with keep-alive on standalone Asio with C++20 coroutines: says hello to every request.

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <string>

#include "../support/asio_server.hpp"
#include "hello.hpp"

namespace {

// An error ends the connection by its exception.
asio::awaitable<void> serve(asio::ip::tcp::socket client) {
  bench::request_reader requests;
  std::string received;
  for (bool wants_more = true;;) {
    if (wants_more || received.empty()) {
      const std::size_t kept = received.size();
      received.resize(kept + 4096);
      const std::size_t size = co_await client.async_read_some(
          asio::buffer(received.data() + kept, received.size() - kept), asio::use_awaitable);
      received.resize(kept + size);
    }
    std::size_t used = 0;
    const auto state = requests.take(received, used);
    received.erase(0, used);
    wants_more = state == bench::request_reader::state::incomplete;
    if (wants_more) continue;
    const bool good = state == bench::request_reader::state::complete;
    co_await asio::async_write(client, asio::buffer(good ? bench::hello : bench::not_understood), asio::use_awaitable);
    if (!good || !requests.keep_alive()) co_return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto start = [](asio::ip::tcp::socket client) {
    const auto executor = client.get_executor();
    asio::co_spawn(executor, serve(std::move(client)), asio::detached);
  };
  bench::asio_server(bench::server_arguments(argc, argv), start).run();
  return 0;
}
