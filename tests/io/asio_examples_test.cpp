// The shapes of Asio's own examples (examples/cpp11/echo, examples/cpp11/timeouts), with a token in place of callbacks.

#include <gtest/gtest.h>

#include <array>
#include <asio/buffer.hpp>
#include <asio/connect.hpp>
#include <asio/dispatch.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/udp.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io_test.hpp"
#include "weft/io/use_fiber.hpp"

namespace weft::io::asio_examples_test {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;
using asio::ip::udp;

class AsioExamples : public testing::WithSockets {};
WEFT_ON_LOOPS(AsioExamples);

const auto any_port = tcp::endpoint(asio::ip::address_v4::loopback(), 0);

// --- echo ---

void echo_session(tcp::socket socket) {
  std::array<char, 1024> data;
  for (;;) {
    std::error_code error;
    const std::size_t length = socket.async_read_some(asio::buffer(data), use_fiber[error]);
    if (error == asio::error::eof) break;
    if (error) throw std::system_error(error);
    asio::async_write(socket, asio::buffer(data, length), use_fiber);
  }
}

void echo_server(tcp::acceptor& acceptor) {
  with_group([&](task_group& sessions) {
    for (;;) sessions.spawn([s = acceptor.async_accept(use_fiber)]() mutable { echo_session(std::move(s)); });
  });
}

std::string echo_client(tcp::endpoint at, const std::string& request) {
  tcp::socket s(this_io_context());
  tcp::resolver resolver(this_io_context());
  const auto found = resolver.async_resolve(at.address().to_string(), std::to_string(at.port()), use_fiber);
  asio::async_connect(s, found, use_fiber);
  asio::async_write(s, asio::buffer(request), use_fiber);
  std::string reply(request.size(), ' ');
  asio::async_read(s, asio::buffer(reply), use_fiber);
  return reply;
}

TEST_P(AsioExamples, EchoOverTcp) {
  run([] {
    tcp::acceptor acceptor(this_io_context(), any_port);
    auto serving = spawn([&] { echo_server(acceptor); });
    std::vector<future<std::string>> clients;
    for (unsigned i = 0; i < 16; ++i)
      clients.push_back(spawn(on_loop(i % loop_count()), [at = acceptor.local_endpoint(), i] {
        return echo_client(at, testing::pattern(1000 * (i + 1)));
      }));
    for (unsigned i = 0; i < 16; ++i) EXPECT_EQ(clients[i].get(), testing::pattern(1000 * (i + 1)));
    serving.cancel();
    EXPECT_THROW(serving.get(), cancelled);
  });
}

TEST_P(AsioExamples, EchoOverUdp) {
  run([] {
    udp::socket server(this_io_context(), udp::endpoint(asio::ip::address_v4::loopback(), 0));
    auto serving = spawn([&] {
      std::array<char, 1024> data;
      for (;;) {
        udp::endpoint sender;
        const std::size_t length = server.async_receive_from(asio::buffer(data), sender, use_fiber);
        server.async_send_to(asio::buffer(data, length), sender, use_fiber);
      }
    });
    udp::socket s(this_io_context(), udp::endpoint(udp::v4(), 0));
    for (const std::string text : {"one", "two"}) {
      s.async_send_to(asio::buffer(text), server.local_endpoint(), use_fiber);
      std::array<char, 1024> reply;
      udp::endpoint from;
      const std::size_t length =
          timeout(5s, [&] { return s.async_receive_from(asio::buffer(reply), from, use_fiber); });
      EXPECT_EQ(std::string(reply.data(), length), text);
      EXPECT_EQ(from, server.local_endpoint());
    }
    serving.cancel();
    EXPECT_THROW(serving.get(), cancelled);
  });
}

// --- timeouts: a client each of whose steps has its time ---

class line_client {
 public:
  void connect(const tcp::endpoint& to, std::chrono::nanoseconds limit) {
    timeout(limit, [&] { asio::async_connect(socket_, std::array{to}, use_fiber); });
  }
  std::string read_line(std::chrono::nanoseconds limit) {
    const std::size_t n =
        timeout(limit, [&] { return asio::async_read_until(socket_, asio::dynamic_buffer(input_), '\n', use_fiber); });
    std::string line = input_.substr(0, n - 1);
    input_.erase(0, n);
    return line;
  }
  void write_line(const std::string& line, std::chrono::nanoseconds limit) {
    timeout(limit, [&] { asio::async_write(socket_, asio::buffer(line + "\n"), use_fiber); });
  }

 private:
  tcp::socket socket_{this_io_context()};
  std::string input_;
};

TEST_P(AsioExamples, EachStepOfAClientHasItsTime) {
  run([] {
    tcp::acceptor acceptor(this_io_context(), any_port);
    auto serving = spawn([&] { echo_server(acceptor); });
    line_client client;
    client.connect(acceptor.local_endpoint(), 5s);
    for (const std::string line : {"one", "", "three"}) {
      client.write_line(line, 5s);
      EXPECT_EQ(client.read_line(5s), line);
    }
    EXPECT_THROW(client.read_line(1ms), timed_out);
    client.write_line("after", 5s);  // the client is as good as before
    EXPECT_EQ(client.read_line(5s), "after");
    serving.cancel();
    EXPECT_THROW(serving.get(), cancelled);
  });
}

// The timeouts server: a session has a deadline that each line puts off, and a timer that sends an empty line when it
// has had nothing to send for a while.
TEST_P(AsioExamples, ASessionLivesAsLongAsItsClientSpeaks) {
  run([] {
    tcp::acceptor acceptor(this_io_context(), any_port);
    auto session = spawn([&] {
      tcp::socket socket = acceptor.async_accept(use_fiber);
      int heartbeats = 0;
      auto beating = spawn([&] {
        asio::steady_timer timer(this_io_context());
        for (;; ++heartbeats) {
          timer.expires_after(2ms);
          timer.async_wait(use_fiber);
          asio::async_write(socket, asio::buffer("\n", 1), use_fiber);
        }
      });
      std::string input;
      int lines = 0;
      while (const auto n = move_on_after(
                 100ms, [&] { return asio::async_read_until(socket, asio::dynamic_buffer(input), '\n', use_fiber); })) {
        input.erase(0, *n);
        ++lines;
      }
      beating.cancel();
      beating.wait();
      EXPECT_GT(heartbeats, 0);
      return lines;
    });
    line_client client;
    client.connect(acceptor.local_endpoint(), 5s);
    for (int i = 0; i < 3; ++i) {
      client.write_line("here", 5s);
      EXPECT_EQ(client.read_line(5s), "");
    }
    EXPECT_EQ(session.get(), 3);
    EXPECT_THROW(for (;;) client.read_line(5s), std::system_error);
  });
}

}  // namespace
}  // namespace weft::io::asio_examples_test
