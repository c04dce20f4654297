#include "weft/io/sync_stream.hpp"

#include <gtest/gtest.h>

#include <array>
#include <asio/buffer.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/streambuf.hpp>
#include <asio/write.hpp>
#include <istream>
#include <string>
#include <vector>

#include "io_test.hpp"

namespace weft::io::sync_stream_test {
namespace {

using namespace std::chrono_literals;

class SyncStream : public testing::WithSockets {};
WEFT_ON_LOOPS(SyncStream);

std::pair<asio_stream, asio_stream> make_streams() {
  auto [a, b] = testing::tcp_pair();
  return {std::move(a), std::move(b)};
}

TEST_P(SyncStream, AsiosBlockingFunctionsWorkOnIt) {
  run([] {
    auto [client, server] = make_streams();
    auto echo = spawn([&s = server] {
      asio::streambuf buffer;
      std::error_code e;
      while (const std::size_t n = asio::read_until(s, buffer, "\n", e)) {
        asio::write(s, asio::buffer(buffer.data(), n));
        buffer.consume(n);
      }
      EXPECT_EQ(e, asio::error::eof);
    });
    const std::array<asio::const_buffer, 3> pieces = {asio::buffer("one ", 4), asio::buffer("", 0),
                                                      asio::buffer("two\n", 4)};
    EXPECT_EQ(asio::write(client, pieces), 8U);
    asio::streambuf back;
    asio::read_until(client, back, '\n');
    std::string line;
    std::istream(&back) >> line;
    EXPECT_EQ(line, "one");
    client.shutdown_write();
    echo.get();
  });
}

TEST_P(SyncStream, SeveralBuffersAreOneWriteAndOneRead) {
  run([] {
    auto [client, server] = make_streams();
    std::vector<asio::const_buffer> pieces;
    for (int i = 0; i < 40; ++i) pieces.push_back(asio::buffer(i % 2 ? "ab" : "c", i % 2 ? 2 : 1));
    const std::size_t first = client.write_some(pieces);  // as many as go into one system call
    EXPECT_EQ(first, 24U);
    EXPECT_EQ(client.write_some(asio::const_buffer()), 0U);
    std::string got(first, ' ');
    std::array<asio::mutable_buffer, 2> room = {asio::mutable_buffer(), asio::buffer(got)};
    EXPECT_EQ(server.read_some(room), first);
    EXPECT_EQ(got, "cabcabcabcabcabcabcabcab");
    EXPECT_EQ(server.read_some(asio::mutable_buffer()), 0U);
  });
}

TEST_P(SyncStream, TheEndsOfAStreamAreErrorCodes) {
  run([] {
    auto [client, server] = make_streams();
    std::array<char, 8> some;
    std::error_code e;
    server.read_timeout(1ms);
    EXPECT_EQ(server.read_some(asio::buffer(some), e), 0U);
    EXPECT_EQ(e, asio::error::timed_out);
    server.read_timeout(no_timeout);
    auto waiting = spawn([&, &c = client] {
      std::error_code aborted;
      c.read_some(asio::buffer(some), aborted);
      EXPECT_EQ(aborted, asio::error::operation_aborted);
    });
    yield();
    client.close();
    waiting.get();
    client.read_some(asio::buffer(some), e);
    EXPECT_EQ(e, asio::error::bad_descriptor);
    EXPECT_EQ(server.read_some(asio::buffer(some), e), 0U);
    EXPECT_EQ(e, asio::error::eof);
    try {
      server.read_some(asio::buffer(some));
      ADD_FAILURE();
    } catch (const std::system_error& end) {
      EXPECT_EQ(end.code(), asio::error::eof);
    }
    while (!e || e == asio::error::eof) server.write_some(asio::buffer(some), e);
    EXPECT_TRUE(e == asio::error::connection_reset || e == asio::error::broken_pipe) << e;
  });
}

TEST_P(SyncStream, ACancellationIsNoErrorCode) {
  run([] {
    auto [client, server] = make_streams();
    std::array<char, 8> some;
    std::error_code e;
    EXPECT_THROW(timeout(1ms, [&, &s = server] { s.read_some(asio::buffer(some), e); }), timed_out);
    asio::write(client, asio::buffer("x", 1));
    EXPECT_EQ(server.read_some(asio::buffer(some), e), 1U);
  });
}

TEST(SyncStreamSimulated, WorksWithoutANetwork) {
  testing::simulate([] {
    auto [a, b] = memory_pair(16);
    asio_stream client(std::move(a));
    asio_stream server(std::move(b));
    const std::string text = testing::pattern(500);
    auto writer = spawn([&] { asio::write(client, asio::buffer(text)); });
    std::string got(text.size(), ' ');
    asio::read(server, asio::buffer(got));
    EXPECT_EQ(got, text);
    writer.get();
  });
}

// A transport that fails with a code that is not the system's, as TLS has them.
class one_that_fails final : public transport {
 public:
  std::size_t read_some(std::span<std::byte>, wait_limit) override { fail("read from"); }
  std::size_t write_some(std::span<const std::span<const std::byte>>, wait_limit) override { fail("write to"); }
  void shutdown_write(wait_limit) override {}
  void close() noexcept override {}
  void leave_loop() override {}
  [[nodiscard]] std::string describe() const override { return "nobody"; }

 private:
  [[noreturn]] static void fail(const char* operation) {
    throw error(std::error_code(-4, resolve_category()), operation, "nobody");
  }
};

TEST_P(SyncStream, ErrorsOfOtherCategoriesStayWhatTheyAre) {
  run([] {
    asio_stream s{stream(std::make_unique<one_that_fails>())};
    char some[1];
    asio::error_code e;
    EXPECT_EQ(s.read_some(asio::buffer(some), e), 0U);
    EXPECT_EQ(e, std::error_code(-4, resolve_category()));
    EXPECT_EQ(s.write_some(asio::buffer(some), e), 0U);
    EXPECT_EQ(e, std::error_code(-4, resolve_category()));
  });
}

}  // namespace
}  // namespace weft::io::sync_stream_test
