#pragma once
// An accepting server on Asio: an io_context a thread, and each new connection on the next of them, which is how Asio
// is fastest. The sessions are the servers' own.

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <cstddef>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "server.hpp"

namespace bench {

/// Serves until SIGTERM or SIGINT. `start` is called with each connected socket, on any thread; the socket's own
/// handlers run on its io_context's thread.
template <class Start>
class asio_server {
 public:
  asio_server(server_arguments arguments, Start start) : start_(std::move(start)) {
    for (unsigned i = 0; i < arguments.threads; ++i) contexts_.push_back(std::make_unique<asio::io_context>(1));
    acceptor_ = std::make_unique<asio::ip::tcp::acceptor>(
        *contexts_[0], asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), arguments.port));
  }

  void run() {
    asio::signal_set signals(*contexts_[0], SIGTERM, SIGINT);
    signals.async_wait([this](std::error_code, int) {
      for (auto& context : contexts_) context->stop();
    });
    std::vector<asio::executor_work_guard<asio::io_context::executor_type>> busy;
    for (auto& context : contexts_) busy.emplace_back(context->get_executor());
    accept();
    announce(acceptor_->local_endpoint().port());
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < contexts_.size(); ++i)
      threads.emplace_back([&context = *contexts_[i]] { context.run(); });
    contexts_[0]->run();
  }

 private:
  void accept() {
    next_ = (next_ + 1) % contexts_.size();
    acceptor_->async_accept(*contexts_[next_], [this](std::error_code error, asio::ip::tcp::socket socket) {
      if (!error) {
        socket.set_option(asio::ip::tcp::no_delay(true));
        start_(std::move(socket));
      }
      accept();
    });
  }

  Start start_;
  std::vector<std::unique_ptr<asio::io_context>> contexts_;
  std::unique_ptr<asio::ip::tcp::acceptor> acceptor_;
  std::size_t next_ = 0;
};

}  // namespace bench
