// Sends as many bytes as are asked for, on standalone Asio with callbacks.

#include <asio/buffer.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <cstdint>
#include <memory>

#include "../support/asio_server.hpp"
#include "block.hpp"

namespace {

class session : public std::enable_shared_from_this<session> {
 public:
  explicit session(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}

  auto executor() { return socket_.get_executor(); }

  void read() {
    asio::async_read(socket_, asio::buffer(&left_, sizeof left_),
                     [self = shared_from_this()](std::error_code error, std::size_t) {
                       if (!error) self->write();
                     });
  }

 private:
  void write() {
    if (left_ == 0) return read();
    const auto piece = bench::block().substr(0, left_);
    asio::async_write(socket_, asio::buffer(piece.data(), piece.size()),
                      [self = shared_from_this()](std::error_code error, std::size_t size) {
                        self->left_ -= static_cast<std::uint32_t>(size);
                        if (!error) self->write();
                      });
  }

  asio::ip::tcp::socket socket_;
  std::uint32_t left_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const auto start = [](asio::ip::tcp::socket socket) {
    auto opened = std::make_shared<session>(std::move(socket));
    // On the socket's own thread, where alone its session runs.
    asio::post(opened->executor(), [opened] { opened->read(); });
  };
  bench::asio_server(bench::server_arguments(argc, argv), start).run();
  return 0;
}
