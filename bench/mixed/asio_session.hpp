#pragma once
// What both Asio servers of the mixed load share: a connection's frames, one after the other, and the accepting.

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <csignal>
#include <utility>

#include "../support/server.hpp"
#include "frame.hpp"

namespace bench {

/// `heavy(request)` is awaited for the answer to a heavy one. An error ends the connection by its exception.
template <class Heavy>
asio::awaitable<void> serve(asio::ip::tcp::socket client, Heavy heavy) {
  for (frame request;;) {
    co_await asio::async_read(client, asio::buffer(request), asio::use_awaitable);
    const frame answer = rounds_of(request) == 0 ? request : co_await heavy(request);
    co_await asio::async_write(client, asio::buffer(answer), asio::use_awaitable);
  }
}

template <class Heavy>
asio::awaitable<void> accept(asio::ip::tcp::acceptor& acceptor, Heavy heavy) {
  for (;;) {
    auto client = co_await acceptor.async_accept(asio::use_awaitable);
    client.set_option(asio::ip::tcp::no_delay(true));
    const auto executor = client.get_executor();
    asio::co_spawn(executor, serve(std::move(client), heavy), asio::detached);
  }
}

/// Stops `context` on SIGTERM. `run()` runs it, on as many threads as the server likes.
template <class Heavy, class Run>
void serve_all(asio::io_context& context, std::uint16_t port, Heavy heavy, Run run) {
  asio::signal_set signals(context, SIGTERM, SIGINT);
  signals.async_wait([&](std::error_code, int) { context.stop(); });
  asio::ip::tcp::acceptor acceptor(context, asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), port));
  asio::co_spawn(context, accept(acceptor, heavy), asio::detached);
  announce(acceptor.local_endpoint().port());
  run();
}

}  // namespace bench
