#include "weft/io/copy.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "io_test.hpp"
#include "weft/gather.hpp"

namespace weft::io::copy_test {
namespace {

using namespace std::chrono_literals;
using testing::pattern;
using testing::read_all;
using testing::reset_on_close;
using testing::simulate;
using testing::tcp_pair;

class Copy : public testing::WithSockets {};
WEFT_ON_LOOPS(Copy);

// A file that is nowhere but in memory.
unique_fd file_of(std::string_view text) {
  unique_fd file(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  return file;
}

TEST_P(Copy, CopiesToTheEndAndCountsTheBytes) {
  run([] {
    auto [source, from] = tcp_pair();
    auto [to, sink] = memory_pair(1000);
    const std::string sent = pattern(1'000'000);
    auto writer = spawn([&, &s = source] {
      s.write_all(sent);
      s.shutdown_write();
    });
    auto reader = spawn([&s = sink] { return read_all(s); });
    EXPECT_EQ(copy(from, to), sent.size());
    to.shutdown_write();
    EXPECT_EQ(reader.get(), sent);
    writer.get();
  });
}

TEST(CopySimulated, ACancelledCopyLosesNoByte) {
  simulate([] {
    auto [source, from] = memory_pair(50);
    auto [to, sink] = memory_pair(20);
    const std::string sent = pattern(3000);
    auto writer = spawn([&, &s = source] {
      s.write_all(sent);
      s.shutdown_write();
    });
    std::string got;
    auto reader = spawn([&, &s = sink] {
      char some[64];
      while (const std::size_t n = s.read_some(std::span(some))) {
        got.append(some, n);
        sleep_for(std::chrono::microseconds(1 + sim::draw(50)));
      }
    });
    std::uint64_t written = 0;
    for (;;) {
      const auto before = to.bytes_written();
      const auto limit = std::chrono::microseconds(1 + sim::draw(200));
      const bool done = move_on_after(limit, [&, &f = from, &t = to] { copy(f, t); });
      written += to.bytes_written() - before;
      if (done) break;
    }
    to.shutdown_write();
    writer.get();
    reader.get();
    EXPECT_EQ(written, sent.size());
    EXPECT_EQ(got, sent);
  });
}

TEST_P(Copy, AnErrorOfEitherEndCountsWhatWasCopied) {
  run([] {
    {
      auto [source, from] = tcp_pair();
      auto [to, sink] = memory_pair();
      source.write_all("12345");
      auto copying = spawn([&, &f = from, &t = to] { return copy(f, t); });
      char some[5];
      sink.read_exactly(std::span(some));
      reset_on_close(source);
      source.close();
      try {
        copying.get();
        ADD_FAILURE();
      } catch (const error& e) {
        EXPECT_EQ(e.code(), std::errc::connection_reset);
        EXPECT_EQ(e.bytes(), 5U);
        EXPECT_EQ(e.operation(), "read from");
      }
    }
    auto [source, from] = memory_pair();
    auto [to, sink] = memory_pair(4);
    auto copying = spawn([&, &f = from, &t = to] { return copy(f, t); });
    source.write_all("12345678");
    char some[2];
    sink.read_exactly(std::span(some));
    testing::run_others_until([&, &t = to] { return t.bytes_written() == 6; });
    sink.close();
    try {
      copying.get();
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::broken_pipe);
      EXPECT_EQ(e.bytes(), 6U);
    }
    EXPECT_EQ(from.buffered(), "78");
  });
}

TEST_P(Copy, ClosingTheSourceEndsACopyThatWrites) {
  run([] {
    auto [source, from] = memory_pair();
    auto [to, sink] = memory_pair(4);
    auto copying = spawn([&, &f = from, &t = to] { EXPECT_THROW(copy(f, t), stream_closed); });
    source.write_all("12345678");
    testing::run_others_until([&, &t = to] { return t.bytes_written() == 4; });
    from.close();
    char some[8];
    sink.read_exactly(std::span(some).first(4));
    copying.get();
  });
}

TEST_P(Copy, BothWaysPassTheirEndsOn) {
  run([] {
    auto [client, near] = tcp_pair();
    auto [far, server] = tcp_pair();
    copied done;
    auto proxy = spawn([&, &n = near, &f = far] { done = copy_bidirectional(n, f); });
    client.write_all("question");
    client.shutdown_write();
    EXPECT_EQ(read_all(server), "question");  // the end has come, while the other way is open
    server.write_all("a long answer");
    server.close();
    EXPECT_EQ(read_all(client), "a long answer");
    proxy.get();
    EXPECT_EQ(done.to_second, 8U);
    EXPECT_EQ(done.to_first, 13U);
  });
}

TEST(CopySimulated, BothWaysAtOnceCarryEveryByte) {
  simulate([] {
    auto [client, near] = memory_pair(1 + sim::draw(100));
    auto [far, server] = memory_pair(1 + sim::draw(100));
    const std::string there = pattern(500);
    const std::string back = pattern(700);
    auto proxy = spawn([&n = near, &f = far] { return copy_bidirectional(n, f); });
    auto exchange = [](stream& s, const std::string& text) {
      auto writer = spawn([&] {
        s.write_all(text);
        s.shutdown_write();
      });
      const std::string got = read_all(s);
      writer.get();
      return got;
    };
    auto answering = spawn([&, &s = server] { return exchange(s, back); });
    EXPECT_EQ(exchange(client, there), back);
    EXPECT_EQ(answering.get(), there);
    const copied done = proxy.get();
    EXPECT_EQ(done.to_second, 500U);
    EXPECT_EQ(done.to_first, 700U);
  });
}

TEST_P(Copy, AWayThatBreaksEndsTheOther) {
  run([] {
    auto [client, near] = tcp_pair();
    auto [far, server] = tcp_pair();
    auto proxy = spawn([&n = near, &f = far] { return copy_bidirectional(n, f); });
    client.write_all("x");
    char c[1];
    server.read_exactly(std::span(c));
    reset_on_close(client);
    client.close();
    EXPECT_THROW(proxy.get(), error);
  });
}

TEST_P(Copy, AFileGoesOutFromAnOffset) {
  run([] {
    const std::string text = pattern(1'000'000);
    const unique_fd file = file_of(text);
    const auto check = [&](stream& to, stream& sink) {
      auto reader = spawn([&] { return read_all(sink); });
      EXPECT_EQ(send_file(to, file.get(), 1000, 900'000), 900'000U);
      EXPECT_EQ(send_file(to, file.get(), 999'990, 1000), 10U);
      EXPECT_EQ(send_file(to, file.get(), 2'000'000, 1000), 0U);
      EXPECT_EQ(send_file(to, file.get(), 0, 0), 0U);
      EXPECT_EQ(to.bytes_written(), 900'010U);
      to.shutdown_write();
      EXPECT_EQ(reader.get(), text.substr(1000, 900'000) + text.substr(999'990));
    };
    auto [a, b] = tcp_pair();
    check(a, b);
    auto [c, d] = memory_pair();
    check(c, d);
  });
}

TEST_P(Copy, ACancelledSendFileTellsHowFarItGot) {
  run([] {
    const std::string text = pattern(20'000'000);
    const unique_fd file = file_of(text);
    auto [to, sink] = tcp_pair();
    EXPECT_FALSE(move_on_after(20ms, [&, &s = to] { send_file(s, file.get(), 0, text.size()); }));
    const auto written = to.bytes_written();
    EXPECT_GT(written, 0U);
    EXPECT_LT(written, text.size());
    auto rest = spawn([&, &s = to] {
      send_file(s, file.get(), written, text.size());
      s.shutdown_write();
    });
    EXPECT_EQ(read_all(sink), text);
    rest.get();
  });
}

// The program would die of the signal.
TEST_P(Copy, SendFileToOneWhoIsGoneIsAnErrorAndNoSignal) {
  run([] {
    const unique_fd file = file_of(pattern(1'000'000));
    auto [to, sink] = tcp_pair();
    sink.close();
    try {
      for (;;) send_file(to, file.get(), 0, 1'000'000);
    } catch (const error& e) {
      EXPECT_TRUE(e.code() == std::errc::broken_pipe || e.code() == std::errc::connection_reset) << e.what();
      EXPECT_EQ(e.peer(), to.describe());
    }
    EXPECT_THROW(send_file(to, file.get(), 0, 1), error);
    ::sigset_t pending;
    ::sigpending(&pending);
    EXPECT_FALSE(::sigismember(&pending, SIGPIPE));
    ::sigset_t blocked;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    EXPECT_FALSE(::sigismember(&blocked, SIGPIPE));
  });
}

TEST_P(Copy, AFileThatCannotBeReadIsNamed) {
  run([] {
    auto [a, b] = tcp_pair();
    auto [c, d] = memory_pair();
    for (stream* to : {&a, &c}) {
      try {
        send_file(*to, 1'000'000, 0, 10);
        ADD_FAILURE();
      } catch (const error& e) {
        EXPECT_EQ(e.code(), std::errc::bad_file_descriptor);
        EXPECT_EQ(e.peer(), "file 1000000");
      }
    }
  });
}

}  // namespace
}  // namespace weft::io::copy_test
