// Boost.Beast in its blocking style, on fibers: only the type of the stream, and the lines that connect and close, are
// other than with a socket.

#include <gtest/gtest.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "io_test.hpp"
#include "weft/io/boost_stream.hpp"

namespace weft::io::beast_test {
namespace {

using namespace std::chrono_literals;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;

static_assert(beast::is_sync_stream<boost_stream>::value);

// The io_context of the executor opens its descriptors once, and keeps them: before a test counts.
[[maybe_unused]] const boost::asio::steady_timer first_timer(boost_stream().get_executor());

class Beast : public testing::WithSockets {};
WEFT_ON_LOOPS(Beast);

/// Answers with the target, the body and as much filler as X-Fill asks for, until the client goes away.
void http_session(boost_stream s) {
  beast::flat_buffer buffer;
  beast::error_code e;
  for (;;) {
    http::request<http::string_body> request;
    http::read(s, buffer, request, e);
    if (e == http::error::end_of_stream) break;
    ASSERT_FALSE(e) << e.message();
    http::response<http::string_body> response(http::status::ok, request.version());
    response.keep_alive(request.keep_alive());
    response.body() = std::string(request.target()) + " " + request.body();
    if (const auto fill = request["X-Fill"]; !fill.empty())
      response.body() += testing::pattern(std::stoul(std::string(fill)));
    if (request.target() == "/chunked") response.chunked(true);
    response.prepare_payload();
    http::write(s, response, e);
    ASSERT_FALSE(e) << e.message();
    if (response.need_eof() || !response.keep_alive()) break;
  }
  s.close();
}

template <class Serve, class Use>
void with_server(Serve serve, Use use) {
  server here(listen(endpoint::loopback(0)), [&](stream s) { serve(boost_stream(std::move(s))); });
  auto running = spawn([&] { return here.run(); });
  use(here.local());
  here.stop();
  const serve_report report = running.get();
  EXPECT_EQ(report.failed, 0U);
  EXPECT_EQ(report.cancelled, 0U);
}

TEST_P(Beast, HttpClientAndServerTalk) {
  run([] {
    with_server(http_session, [](endpoint at) {
      std::vector<future<void>> clients;
      for (unsigned i = 0; i < 8; ++i)
        clients.push_back(spawn(on_loop(i % loop_count()), [&] {
          boost_stream s(connect(at));
          beast::flat_buffer buffer;
          for (int k = 0; k < 20; ++k) {
            http::request<http::string_body> request(http::verb::post, "/" + std::to_string(k), 11);
            request.set(http::field::host, "here");
            if (k == 7) request.set("X-Fill", "300000");
            request.body() = "body";
            request.prepare_payload();
            http::write(s, request);
            http::response<http::string_body> response;
            http::read(s, buffer, response);
            EXPECT_EQ(response.result_int(), 200U);
            const std::string head = "/" + std::to_string(k) + " body";
            EXPECT_EQ(response.body(), k == 7 ? head + testing::pattern(300000) : head);
          }
          s.close();
        }));
      gather(std::move(clients)).get();
    });
  });
}

TEST_P(Beast, CurlIsServed) {
  if (std::system("curl --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "curl is not installed";
  run([] {
    with_server(http_session, [](endpoint at) {
      const auto curl = [at](const std::string& what) {
        return spawn_blocking([command = "curl -s -m 10 --noproxy '*' " + what, at] {
          const auto url = "http://" + to_string(at);
          std::string line = command;
          for (auto i = line.find('@'); i != std::string::npos; i = line.find('@', i)) line.replace(i, 1, url);
          const std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(::popen(line.c_str(), "r"), &::pclose);
          std::string text;
          std::array<char, 4096> some;
          while (const std::size_t n = std::fread(some.data(), 1, some.size(), out.get())) text.append(some.data(), n);
          return text;
        });
      };
      EXPECT_EQ(curl("@/a").get(), "/a ");
      EXPECT_EQ(curl("-d hello @/b @/c").get(), "/b hello/c hello");
      EXPECT_EQ(curl("-H 'Transfer-Encoding: chunked' -d hello @/chunked").get(), "/chunked hello");
      EXPECT_EQ(curl("-0 @/old").get(), "/old ");
      EXPECT_EQ(curl("-H 'X-Fill: 100000' @/").get(), "/ " + testing::pattern(100000));
    });
  });
}

void websocket_session(boost_stream s) {
  websocket::stream<boost_stream> ws(std::move(s));
  ws.accept();
  beast::flat_buffer buffer;
  beast::error_code e;
  for (;;) {
    ws.read(buffer, e);
    if (e == websocket::error::closed) break;
    ASSERT_FALSE(e) << e.message();
    ws.text(ws.got_text());
    ws.write(buffer.data());
    buffer.consume(buffer.size());
  }
  EXPECT_EQ(ws.reason().code, websocket::close_code::normal);
}

TEST_P(Beast, WebSocketClientAndServerTalk) {
  run([] {
    with_server(websocket_session, [](endpoint at) {
      std::vector<future<void>> clients;
      for (unsigned i = 0; i < 4; ++i)
        clients.push_back(spawn(on_loop(i % loop_count()), [&] {
          websocket::stream<boost_stream> ws(connect(at));
          ws.handshake("here", "/");
          for (const std::size_t size : {1U, 125U, 126U, 65'536U, 200'000U}) {
            const std::string text = testing::pattern(size);
            auto writer = spawn([&] { ws.write(boost::asio::buffer(text)); });  // one fiber writes while another reads
            beast::flat_buffer buffer;
            ws.read(buffer);
            writer.get();
            EXPECT_EQ(beast::buffers_to_string(buffer.data()), text);
          }
          ws.ping("p");
          ws.close(websocket::close_code::normal);
          EXPECT_FALSE(ws.next_layer().is_open());
        }));
      gather(std::move(clients)).get();
    });
  });
}

TEST_P(Beast, AWebSocketWithoutACloseIsTheEndOfTheStream) {
  run([] {
    auto [a, b] = testing::tcp_pair();
    websocket::stream<boost_stream> client(std::move(a));
    auto peer = spawn([&s = b] {
      websocket::stream<boost_stream> ws(std::move(s));
      ws.accept();
      ws.next_layer().close();
    });
    client.handshake("here", "/");
    peer.get();
    beast::flat_buffer buffer;
    beast::error_code e;
    client.read(buffer, e);
    EXPECT_TRUE(e == boost::asio::error::eof || e == boost::asio::error::connection_reset) << e.message();
  });
}

TEST_P(Beast, TimeLimitsAreTheStreams) {
  run([] {
    auto [a, b] = testing::tcp_pair();
    boost_stream client(std::move(a));
    beast::flat_buffer buffer;
    http::response<http::string_body> response;
    client.read_timeout(1ms);
    beast::error_code e;
    http::read(client, buffer, response, e);
    EXPECT_EQ(e, boost::asio::error::timed_out);
    client.read_timeout(no_timeout);
    EXPECT_THROW(timeout(1ms, [&] { http::read(client, buffer, response); }), timed_out);
    b.close();
    EXPECT_THROW(http::read(client, buffer, response), boost::system::system_error);
  });
}

// A transport that fails with a code that is not the system's, as TLS has them.
class one_that_fails final : public transport {
 public:
  std::size_t read_some(std::span<std::byte>, wait_limit) override {
    throw error(std::error_code(-4, resolve_category()), "read from", "nobody");
  }
  std::size_t write_some(std::span<const std::span<const std::byte>>, wait_limit) override { return 0; }
  void shutdown_write(wait_limit) override {}
  void close() noexcept override {}
  void leave_loop() override {}
  [[nodiscard]] std::string describe() const override { return "nobody"; }
};

TEST_P(Beast, ErrorsOfOtherCategoriesStayWhatTheyAre) {
  run([] {
    boost_stream s{stream(std::make_unique<one_that_fails>())};
    char some[1];
    beast::error_code e;
    EXPECT_EQ(s.read_some(boost::asio::buffer(some), e), 0U);
    EXPECT_EQ(e.value(), -4);
    EXPECT_EQ(e.message(), resolve_category().message(-4));
    EXPECT_STREQ(e.category().name(), resolve_category().name());
    beast::error_code again;
    s.read_some(boost::asio::buffer(some), again);
    EXPECT_EQ(e, again);
  });
}

TEST(BeastSimulated, WorksWithoutANetwork) {
  testing::simulate([] {
    auto [a, b] = memory_pair(64);
    auto serving = spawn([&s = b] { websocket_session(std::move(s)); });
    websocket::stream<boost_stream> ws(std::move(a));
    ws.handshake("here", "/");
    ws.write(boost::asio::buffer(testing::pattern(300)));
    beast::flat_buffer buffer;
    ws.read(buffer);
    EXPECT_EQ(beast::buffers_to_string(buffer.data()), testing::pattern(300));
    ws.close(websocket::close_code::normal);
    serving.get();
  });
}

}  // namespace
}  // namespace weft::io::beast_test
