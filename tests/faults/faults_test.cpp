// Sockets when the system calls below them go wrong, and clients that are slow or killed. system_calls.cpp makes the
// faults; the library is the one that is shipped.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "bad_day.hpp"
#include "io_test.hpp"
#include "process.hpp"
#include "system_calls.hpp"
#include "weft/gather.hpp"
#include "weft/io/serve.hpp"
#include "weft/io/testing/streams.hpp"
#include "weft/task_group.hpp"

namespace weft::faults_test {
namespace {

using namespace std::chrono_literals;
using io::stream;
using testing::a_bad_day;
using testing::fail_calls;
using testing::faults;
using testing::faulty_call;
using testing::pattern;
using testing::read_all;
using testing::run_others_until;

class Faults : public testing::WithFaults {};
INSTANTIATE_TEST_SUITE_P(Loops, Faults, ::testing::Values(1U, 2U), ::testing::PrintToStringParamName());

/// Runs the contract of streams on a bad day.
void check_on_a_bad_day(const std::string& name, std::function<std::pair<stream, stream>()> pair, bool descriptor) {
  const faults bad(a_bad_day);
  EXPECT_NO_THROW(testing::check_stream({.name = name, .pair = std::move(pair), .descriptor = descriptor}));
  EXPECT_GT(faults::made(), 1000U);
}

TEST(FaultyStreams, TcpKeepsTheContract) { check_on_a_bad_day("TCP", testing::tcp_pair, true); }
TEST(FaultyStreams, LocalSocketsKeepTheContract) { check_on_a_bad_day("a local socket", io::local_pair, true); }

TEST_P(Faults, PipesCarryEveryByteOnABadDay) {
  run([] {
    const faults bad(a_bad_day);
    auto [reader, writer] = io::pipe();
    const std::string sent = pattern(300'000);
    auto writing = spawn([&, &w = writer] {
      w.write_all({sent, "", sent});
      w.shutdown_write();
    });
    EXPECT_EQ(read_all(reader), sent + sent);
    writing.get();
    EXPECT_EQ(writer.bytes_written(), 2 * sent.size());
  });
}

TEST_P(Faults, DescriptorsArePassedOnABadDay) {
  run([] {
    const faults bad(a_bad_day);
    auto [one, other] = io::local_pair();
    for (int i = 0; i < 50; ++i) {
      auto sending = spawn([&, &s = one] {
        s.write_all("here:");
        io::send_descriptor(s, 1);
      });
      char some[5];
      other.read_exactly(std::span(some));
      EXPECT_TRUE(io::recv_descriptor(other));
      sending.get();
    }
  });
}

// Edges come without end, and nothing is ever there.
TEST_P(Faults, AStormOfEdgesKeepsNeitherDeadlinesNorOthersFromComing) {
  run([] {
    auto [one, other] = testing::tcp_pair();
    const faults storm({.not_ready = 1});  // always
    one.write_timeout(50ms);
    bool ran = false;
    auto another = spawn([&] {
      for (int i = 0; i < 20; ++i) sleep_for(1ms);
      ran = true;
    });
    EXPECT_THROW(one.write_all("x"), timed_out);
    other.read_timeout(50ms);
    char c[1];
    EXPECT_THROW((void)other.read_some(std::span(c)), timed_out);
    EXPECT_FALSE(move_on_after(50ms, [&, &s = other] { (void)s.read_some(std::span(c)); }));
    another.get();
    EXPECT_TRUE(ran);
    EXPECT_EQ(one.bytes_written(), 0U);
  });
}

TEST_P(Faults, AnErrorInTheMiddleOfAWriteCountsAndTheStreamGoesOn) {
  run([] {
    for (const int code : {ENOBUFS, ENOMEM}) {
      auto [one, other] = testing::tcp_pair();
      const std::string sent = pattern(10'000);
      auto reading = spawn([&s = other] { return read_all(s); });
      fail_calls(faulty_call::send, 2, 1, code);
      std::uint64_t before = 0;
      try {
        for (int i = 0; i < 10; ++i) {
          before = one.bytes_written();
          one.write_all(std::string_view(sent).substr(static_cast<std::size_t>(before), 1000));
        }
        ADD_FAILURE() << "nothing failed";
      } catch (const io::error& e) {
        EXPECT_EQ(e.code().value(), code);
        EXPECT_EQ(e.bytes(), one.bytes_written() - before);
        EXPECT_EQ(e.operation(), "write to");
        EXPECT_EQ(e.peer(), one.describe());
      }
      EXPECT_EQ(one.bytes_written(), 2000U);
      one.write_all(std::string_view(sent).substr(2000));
      one.shutdown_write();
      EXPECT_EQ(reading.get(), sent);
    }
  });
}

TEST_P(Faults, AnErrorInTheMiddleOfALargeWriteTellsHowFarItGot) {
  run([] {
    auto [one, other] = testing::tcp_pair();
    const std::string sent = pattern(3'000'000);
    auto reading = spawn([&s = other] { return read_all(s); });
    const faults bad({.partial = 1});
    fail_calls(faulty_call::send, 5, 1, ENOBUFS);
    try {
      one.write_all({std::string_view(sent).substr(0, 10), std::string_view(sent).substr(10)});
      ADD_FAILURE() << "nothing failed";
    } catch (const io::error& e) {
      EXPECT_EQ(e.bytes(), one.bytes_written());
      EXPECT_GT(e.bytes(), 0U);
    }
    one.write_all(std::string_view(sent).substr(static_cast<std::size_t>(one.bytes_written())));
    one.shutdown_write();
    EXPECT_EQ(reading.get(), sent);
  });
}

TEST_P(Faults, AFailedReadTakesNothing) {
  run([] {
    auto [one, other] = testing::tcp_pair();
    one.write_all("half");
    while (other.buffered().size() < 4) (void)other.fill();
    for (const int code : {ENOMEM, ENOBUFS}) {
      one.write_all(" and");
      fail_calls(faulty_call::receive, 0, 1, code);
      try {
        (void)other.read_until("!");
        ADD_FAILURE() << "nothing failed";
      } catch (const io::error& e) {
        EXPECT_EQ(e.code().value(), code);
        EXPECT_EQ(e.operation(), "read from");
      }
    }
    one.write_all(" the rest!");
    EXPECT_EQ(other.read_until("!"), "half and and the rest!");
  });
}

// The system tells of a reset once, and it is the loop that hears of it.
TEST_P(Faults, AnErrorMetByAReadBeforeItsFiberRunsIsTheFibers) {
  run([] {
    auto [one, other] = testing::tcp_pair();
    auto reading = spawn([&s = other] {
      EXPECT_EQ(s.read_until("\n"), "it is watched from here on\n");
      try {
        (void)s.read_until("\n");
        ADD_FAILURE() << "nothing failed";
      } catch (const io::error& e) {
        EXPECT_EQ(e.code(), std::errc::connection_reset);
        EXPECT_EQ(e.operation(), "read from");
      }
      return s.read_until("\n");
    });
    yield();
    one.write_all("it is watched from here on\n");
    run_others_until([&s = other] { return s.bytes_read() > 0; });
    for (int i = 0; i < 3; ++i) yield();  // it waits
    fail_calls(faulty_call::receive, 0, 1, ECONNRESET);
    one.write_all("and still there\n");
    EXPECT_EQ(reading.get(), "and still there\n");
    EXPECT_EQ(testing::failures_to_come(faulty_call::receive), 0U);
  });
}

TEST_P(Faults, WhatBreaksAConnectionIsTheErrorOfEachCall) {
  run([] {
    auto [one, other] = testing::tcp_pair();
    fail_calls(faulty_call::receive, 0, 1, ECONNRESET);
    try {
      (void)other.read_until("\n");
      ADD_FAILURE() << "nothing failed";
    } catch (const io::error& e) {
      EXPECT_EQ(e.code(), std::errc::connection_reset);
    }
    fail_calls(faulty_call::send, 0, 1, EPIPE);
    try {
      one.write_all("x");
      ADD_FAILURE() << "nothing failed";
    } catch (const io::error& e) {
      EXPECT_EQ(e.code(), std::errc::broken_pipe);
    }
    const io::unique_fd file(::memfd_create("sent", MFD_CLOEXEC));
    ASSERT_EQ(::write(file.get(), "file", 4), 4);
    for (const auto& [code, peer] : {std::pair(EHOSTUNREACH, one.describe()), std::pair(ECONNRESET, one.describe()),
                                     std::pair(EIO, "file " + std::to_string(file.get()))}) {
      fail_calls(faulty_call::send, 0, 1, code);
      try {
        io::send_file(one, file.get(), 0, 4);
        ADD_FAILURE() << "nothing failed";
      } catch (const io::error& e) {
        EXPECT_EQ(e.code().value(), code);
        EXPECT_EQ(e.peer(), peer);
      }
    }
  });
}

TEST_P(Faults, WhereNothingCanBeWatchedAWaitIsAnErrorAndTheStreamGoesOn) {
  run([] {
    auto [one, other] = testing::tcp_pair();
    fail_calls(faulty_call::epoll_add, 0, 1, ENOSPC);
    try {
      (void)other.read_until("\n");
      ADD_FAILURE() << "nothing failed";
    } catch (const io::error& e) {
      EXPECT_EQ(e.code(), std::errc::no_space_on_device);
      EXPECT_NE(std::string(e.what()).find("max_user_watches"), std::string::npos) << e.what();
    }
    auto reading = spawn([&s = other] { return s.read_until("\n"); });
    yield();
    one.write_all("line\n");
    EXPECT_EQ(reading.get(), "line\n");
  });
}

TEST_P(Faults, FilesAreSentOnABadDay) {
  run([] {
    const std::string sent = pattern(300'000);
    const io::unique_fd file(::memfd_create("sent", MFD_CLOEXEC));
    ASSERT_EQ(::write(file.get(), sent.data(), sent.size()), static_cast<ssize_t>(sent.size()));
    auto [one, other] = testing::tcp_pair();
    const faults bad(a_bad_day);
    auto sending = spawn([&, &s = one] {
      EXPECT_EQ(io::send_file(s, file.get(), 1000, sent.size()), sent.size() - 1000);
      s.shutdown_write();
    });
    EXPECT_EQ(read_all(other), sent.substr(1000));
    sending.get();
    EXPECT_EQ(one.bytes_written(), sent.size() - 1000);
    EXPECT_GT(faults::made(), 0U);
  });
}

TEST_P(Faults, AnInterruptedConnectGoesOn) {
  run([] {
    io::listener l = io::listen(io::endpoint::loopback(0));
    const faults bad({.interrupted = 2});
    for (int i = 0; i < 30; ++i) {
      stream one = io::connect(l.local());
      stream other = l.accept();
      one.write_all("here\n");
      EXPECT_EQ(other.read_until("\n"), "here\n");
    }
  });
}

TEST_P(Faults, AConnectThatFailsIsAnErrorAndLeavesNothing) {
  run([] {
    io::listener l = io::listen(io::endpoint::loopback(0));
    for (const int code : {ECONNREFUSED, ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, ETIMEDOUT, EPERM, ENOBUFS}) {
      fail_calls(faulty_call::connect, 0, 1, code);
      const std::size_t before = testing::open_descriptors();
      try {
        (void)io::connect(l.local());
        ADD_FAILURE() << "nothing failed";
      } catch (const io::error& e) {
        EXPECT_EQ(e.code().value(), code);
        EXPECT_EQ(e.peer(), to_string(l.local()));
      }
      EXPECT_EQ(testing::open_descriptors(), before);
    }
    stream one = io::connect(l.local());
    EXPECT_TRUE(l.accept().is_open());
  });
}

TEST_P(Faults, WaitsForDescriptorsEndOnABadDay) {
  run([] {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    const io::unique_fd from(ends[0]);
    const io::unique_fd to(ends[1]);
    fail_calls(faulty_call::epoll_add, 0, 1, ENOMEM);
    EXPECT_THROW(io::wait_readable(from.get()), io::error);
    const faults bad(a_bad_day);
    for (int i = 0; i < 100; ++i) {
      auto waiting = spawn([&] { io::wait_readable(from.get()); });
      yield();
      while (::write(to.get(), "x", 1) != 1) io::wait_writable(to.get());
      waiting.get();
      char c = 0;
      while (::read(from.get(), &c, 1) != 1) {
      }
      EXPECT_EQ(c, 'x');
    }
  });
}

// --- servers ---

void echo(stream s) {
  char some[512];
  while (const std::size_t n = s.read_some(std::span(some))) s.write_all(std::string_view(some, n));
}

TEST_P(Faults, AServerAnswersEveryClientWhateverAcceptSays) {
  run([] {
    std::atomic<unsigned> reports{0};
    io::serve_options options;
    options.on_error = [&](const std::string&, std::exception_ptr) { ++reports; };
    io::server s(io::listen(io::endpoint::loopback(0)), echo, options);
    auto serving = spawn([&] { return s.run(); });
    {
      const faults bad({.interrupted = 8, .not_ready = 8, .partial = 2, .accepts = 3});
      with_group([&](task_group& g) {
        for (unsigned i = 0; i < 60; ++i)
          g.spawn(on_loop(i % loop_count()), [&, i] {
            stream c = io::connect(s.local());
            const std::string sent = pattern(100 + 100 * i);
            auto writing = spawn([&] {
              c.write_all(sent);
              c.shutdown_write();
            });
            EXPECT_EQ(read_all(c), sent);
            writing.get();
          });
      });
    }
    s.stop();
    const io::serve_report report = serving.get();
    EXPECT_EQ(report.accepted, 60U);
    EXPECT_EQ(report.finished, 60U);
    EXPECT_EQ(report.open, 0U);
    EXPECT_GT(report.accept_failures, 0U);
  });
}

TEST_P(Faults, AServerSurvivesARunOfEachFailureOfAccept) {
  run([] {
    io::serve_options options;
    options.on_error = [](const std::string&, std::exception_ptr) {};
    io::server s(io::listen(io::endpoint::loopback(0)), echo, options);
    auto serving = spawn([&] { return s.run(); });
    unsigned failures = 0;
    for (const int code : {EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EPROTO, EPERM}) {
      fail_calls(faulty_call::accept, 0, 3, code);
      failures += 3;
      stream c = io::connect(s.local());
      c.write_all("hello\n");
      EXPECT_EQ(c.read_until("\n"), "hello\n") << code;
    }
    s.stop();
    EXPECT_EQ(serving.get().accept_failures, failures);
  });
}

TEST_P(Faults, AConnectionThatIsLostOnItsWayInEndsByItself) {
  run([] {
    // The handler's first read fails; the client is told, and the others go on.
    io::serve_options options;
    options.on_error = [](const std::string&, std::exception_ptr) {};
    io::server s(io::listen(io::endpoint::loopback(0)), echo, options);
    auto serving = spawn([&] { return s.run(); });
    stream good = io::connect(s.local());
    good.write_all("x");
    char c[1];
    good.read_exactly(std::span(c));
    stream bad = io::connect(s.local());
    run_others_until([&] { return s.report().accepted == 2; });
    fail_calls(faulty_call::receive, 0, 1, ECONNRESET);
    bad.write_all("y");
    run_others_until([&] { return s.report().failed == 1; });
    try {
      EXPECT_EQ(read_all(bad), "");
    } catch (const io::error& e) {  // what it had sent was not read
      EXPECT_EQ(e.code(), std::errc::connection_reset);
    }
    good.write_all("z");
    good.read_exactly(std::span(c));
    EXPECT_EQ(c[0], 'z');
    good.close();
    s.stop();
    EXPECT_EQ(serving.get().finished, 1U);
  });
}

TEST_P(Faults, ClientsThatReadNothingAreLetGo) {
  run([] {
    io::serve_options options;
    options.write_stall = 30ms;
    io::server s(
        io::listen(io::endpoint::loopback(0)),
        [](stream c) {
          const std::string piece = pattern(64 * 1024);
          for (;;) c.write_all(piece);
        },
        options);
    auto serving = spawn([&] { return s.run(); });
    std::vector<stream> clients;
    for (int i = 0; i < 8; ++i) clients.push_back(io::connect(s.local()));
    run_others_until([&] { return s.report().failed == clients.size(); });
    s.stop();
    const io::serve_report report = serving.get();
    EXPECT_EQ(report.cancelled, 0U);
    EXPECT_EQ(report.open, 0U);
  });
}

TEST_P(Faults, ClientsThatAreSlowGetEveryByte) {
  run([] {
    const std::string sent = pattern(40'000);
    io::server s(io::listen(io::endpoint::loopback(0)), [&](stream c) {
      c.write_all(sent);
      c.shutdown_write();
    });
    auto serving = spawn([&] { return s.run(); });
    with_group([&](task_group& g) {
      for (unsigned i = 0; i < 6; ++i)
        g.spawn(on_loop(i % loop_count()), [&] {
          stream c = io::connect(s.local());
          const int little = 8192;
          EXPECT_EQ(::setsockopt(c.native_handle(), SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
          std::string got;
          char some[1000];
          while (const std::size_t n = c.read_some(std::span(some))) {
            got.append(some, n);
            if (got.size() % 7 == 0) sleep_for(1ms);
          }
          EXPECT_EQ(got, sent);
        });
    });
    s.stop();
    EXPECT_EQ(serving.get().finished, 6U);
  });
}

// --- clients that are killed ---

/// For another process that talks to a port: sends for ever, or reads for ever.
std::vector<std::string> client_command(std::uint16_t port, bool sends) {
  const std::string open = "exec 3<>/dev/tcp/127.0.0.1/" + std::to_string(port) + "; ";
  return {"bash", "-c", open + (sends ? "exec cat /dev/zero >&3" : "exec cat <&3 >/dev/null")};
}

TEST_P(Faults, ClientsThatAreKilledInTheMiddleLeaveNothingBehind) {
  run([] {
    std::atomic<std::uint64_t> received{0};
    std::atomic<std::uint64_t> sent{0};
    std::atomic<std::uint64_t> counted{0};
    std::atomic<unsigned> busy{0};
    // One fiber of each connection writes, one reads; both are stuck or under way when the client dies.
    io::server s(io::listen(io::endpoint::loopback(0)), [&](stream c) {
      ++busy;
      std::uint64_t got = 0;
      try {
        with_group([&](task_group& g) {
          g.spawn([&] {
            const std::string piece = pattern(50'000);
            for (;;) c.write_all(piece);
          });
          std::vector<char> some(50'000);
          while (const std::size_t n = c.read_some(std::span(some))) got += n;
          g.cancel();
        });
      } catch (const std::exception&) {  // of one, or of both
      }
      received += got;
      counted += c.bytes_read();
      sent += c.bytes_written();
    });
    auto serving = spawn([&] { return s.run(); });
    constexpr unsigned each = 3;
    {
      std::vector<std::unique_ptr<testing::process>> clients;
      for (unsigned i = 0; i < 2 * each; ++i)
        clients.push_back(std::make_unique<testing::process>(client_command(s.local().port(), i % 2 == 0)));
      run_others_until([&] { return busy == 2 * each; });
      sleep_for(30ms);
    }  // SIGKILL
    run_others_until([&] { return s.report().open == 0; });
    s.stop();
    const io::serve_report report = serving.get();
    EXPECT_EQ(report.accepted, 2 * each);
    EXPECT_EQ(report.finished, 2 * each);
    EXPECT_EQ(received.load(), counted.load());
    EXPECT_GT(received.load(), 0U);
    EXPECT_GT(sent.load(), 0U);
  });
}

}  // namespace
}  // namespace weft::faults_test
