// TCP echo on standalone Asio with callbacks: a session that keeps itself alive through its handlers.

#include <array>
#include <asio/buffer.hpp>
#include <asio/post.hpp>
#include <asio/write.hpp>
#include <memory>

#include "../support/asio_server.hpp"

namespace {

class session : public std::enable_shared_from_this<session> {
 public:
  explicit session(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}

  auto executor() { return socket_.get_executor(); }

  void read() {
    socket_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](std::error_code error, std::size_t size) {
                              if (!error) self->write(size);
                            });
  }

 private:
  void write(std::size_t size) {
    asio::async_write(socket_, asio::buffer(buffer_, size),
                      [self = shared_from_this()](std::error_code error, std::size_t) {
                        if (!error) self->read();
                      });
  }

  asio::ip::tcp::socket socket_;
  std::array<char, 16 * 1024> buffer_;
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
