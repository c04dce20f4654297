// HTTP/1.1 with keep-alive on standalone Asio with callbacks: says hello to every request.

#include <asio/buffer.hpp>
#include <asio/post.hpp>
#include <asio/write.hpp>
#include <memory>
#include <string>

#include "../support/asio_server.hpp"
#include "hello.hpp"

namespace {

class session : public std::enable_shared_from_this<session> {
 public:
  explicit session(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}

  auto executor() { return socket_.get_executor(); }

  void read() {
    const std::size_t kept = received_.size();
    received_.resize(kept + 4096);
    socket_.async_read_some(asio::buffer(received_.data() + kept, received_.size() - kept),
                            [self = shared_from_this(), kept](std::error_code error, std::size_t size) {
                              self->received_.resize(kept + size);
                              if (!error) self->parse();
                            });
  }

 private:
  void parse() {
    if (received_.empty()) return read();
    std::size_t used = 0;
    const auto state = requests_.take(received_, used);
    received_.erase(0, used);
    switch (state) {
      case bench::request_reader::state::complete:
        return write(bench::hello, requests_.keep_alive());
      case bench::request_reader::state::incomplete:
        return read();
      case bench::request_reader::state::bad:
        return write(bench::not_understood, false);
    }
  }

  void write(std::string_view answer, bool more) {
    asio::async_write(socket_, asio::buffer(answer),
                      [self = shared_from_this(), more](std::error_code error, std::size_t) {
                        if (!error && more) self->parse();
                      });
  }

  asio::ip::tcp::socket socket_;
  std::string received_;
  bench::request_reader requests_;
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
