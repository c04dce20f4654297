// TLS echo on standalone Asio with callbacks.

#include <array>
#include <asio/buffer.hpp>
#include <asio/post.hpp>
#include <asio/ssl.hpp>
#include <asio/write.hpp>
#include <memory>

#include "../support/asio_server.hpp"
#include "../support/papers.h"

namespace {

class session : public std::enable_shared_from_this<session> {
 public:
  session(asio::ip::tcp::socket socket, asio::ssl::context& context) : stream_(std::move(socket), context) {}

  auto executor() { return stream_.get_executor(); }

  void shake_hands() {
    stream_.async_handshake(asio::ssl::stream_base::server, [self = shared_from_this()](std::error_code error) {
      if (!error) self->read();
    });
  }

 private:
  void read() {
    stream_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](std::error_code error, std::size_t size) {
                              if (!error) self->write(size);
                            });
  }
  void write(std::size_t size) {
    asio::async_write(stream_, asio::buffer(buffer_, size),
                      [self = shared_from_this()](std::error_code error, std::size_t) {
                        if (!error) self->read();
                      });
  }

  asio::ssl::stream<asio::ip::tcp::socket> stream_;
  std::array<char, 16 * 1024> buffer_;
};

}  // namespace

int main(int argc, char** argv) {
  asio::ssl::context context(asio::ssl::context::tls_server);
  bench_use_papers(context.native_handle());
  const auto start = [&](asio::ip::tcp::socket socket) {
    auto opened = std::make_shared<session>(std::move(socket), context);
    // On the socket's own thread, where alone its session runs.
    asio::post(opened->executor(), [opened] { opened->shake_hands(); });
  };
  bench::asio_server(bench::server_arguments(argc, argv), start).run();
  return 0;
}
