// TLS over sockets when the system calls below go wrong. For connections that are cut at any byte: tests/io.

#include "weft/io/tls.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "bad_day.hpp"
#include "io_test.hpp"
#include "papers.hpp"
#include "system_calls.hpp"
#include "weft/io/testing/streams.hpp"

namespace weft::faults_tls_test {
namespace {

using namespace std::chrono_literals;
using io::stream;
using testing::a_bad_day;
using testing::fail_calls;
using testing::faults;
using testing::faulty_call;
using testing::pattern;
using testing::read_all;

class TlsFaults : public testing::WithFaults {};
INSTANTIATE_TEST_SUITE_P(Loops, TlsFaults, ::testing::Values(1U, 2U), ::testing::PrintToStringParamName());

TEST(FaultyStreams, TlsKeepsTheContract) {
  const io::tls_context client = testing::client_context();
  const io::tls_context server = testing::server_context();
  const faults bad(a_bad_day);
  EXPECT_NO_THROW(testing::check_stream(
      {.name = "TLS over TCP", .pair = [&] { return testing::tls_over(testing::tcp_pair(), client, server); }}));
  EXPECT_GT(faults::made(), 1000U);
}

/// What one side had against it; empty for nothing.
template <class F>
std::string problem_of(int code, F talk) {
  try {
    talk();
  } catch (const io::tls_error& e) {
    EXPECT_EQ(e.problem(), io::tls_problem::truncated) << e.what();
    return e.what();
  } catch (const io::error& e) {
    const int got = e.code().value();
    EXPECT_TRUE(got == code || got == ECONNRESET || got == EPIPE) << e.what();
    return e.what();
  }
  return {};
}

// The first, the second, ... call of a whole conversation fails, until there are no more. A read does so once, for it
// is not made again; writes from then on, for one that is only tried is.
TEST_P(TlsFaults, EachCallOfAConversationMayFail) {
  run([] {
    const io::tls_context client = testing::client_context();
    const io::tls_context server = testing::server_context();
    const std::string sent = pattern(40'000);
    struct plan {
      faulty_call call;
      unsigned times;
      int code;
    };
    for (const plan& p : {plan{faulty_call::receive, 1, ECONNRESET}, plan{faulty_call::receive, 1, ENOMEM},
                          plan{faulty_call::send, 10'000, EPIPE}, plan{faulty_call::send, 10'000, ENOBUFS}}) {
      unsigned failed = 0;
      unsigned passing = 0;
      for (bool reached = true; reached; ++passing) {
        auto pair = testing::tcp_pair();
        fail_calls(p.call, passing, p.times, p.code);
        auto answering = spawn([&, over = std::move(pair.second)]() mutable {
          return problem_of(p.code, [&] {
            stream s = io::tls_accept(std::move(over), server);
            const std::string got = read_all(s);  // the end is theirs, or an error
            EXPECT_EQ(got, sent);
            s.write_all(got);
          });
        });
        const std::string problem = problem_of(p.code, [&, over = std::move(pair.first)]() mutable {
          stream s = io::tls_connect(std::move(over), "server.test", client);
          s.write_all(sent);
          s.shutdown_write();
          EXPECT_EQ(read_all(s), sent);
        });
        failed += answering.get().empty() && problem.empty() ? 0 : 1;
        reached = testing::failures_to_come(p.call) < p.times;
        fail_calls(p.call, 0, 0, 0);
      }
      EXPECT_GT(passing, 5U);
      EXPECT_GT(failed, 3U);
      EXPECT_LT(failed, passing);  // the last one had none
    }
  });
}

// The system says that nothing is there, for ever.
TEST_P(TlsFaults, OneWhoIsSilentMeetsADeadlineOrACancellation) {
  run([] {
    auto options = testing::trusting();
    options.handshake = 30ms;
    const io::tls_context hasty = io::tls_context::client(options);
    const io::tls_context client = testing::client_context();
    const io::tls_context server = testing::server_context();
    auto [one, other] = testing::tls_over(testing::tcp_pair(), client, server);
    auto silent = testing::tcp_pair();
    auto silent_too = testing::tcp_pair();
    const faults storm({.not_ready = 1});
    EXPECT_THROW((void)io::tls_connect(std::move(silent.first), "server.test", hasty), timed_out);
    EXPECT_FALSE(move_on_after(
        20ms, [&] { return io::tls_connect(std::move(silent_too.first), "server.test", client).is_open(); }));
    one.read_timeout(20ms);
    char c[1];
    EXPECT_THROW((void)one.read_some(std::span(c)), timed_out);
    EXPECT_FALSE(move_on_after(20ms, [&, &s = other] { (void)s.read_some(std::span(c)); }));
    one.write_timeout(20ms);
    (void)one.write_some(std::as_bytes(std::span("taken")));  // a record that is kept
    EXPECT_THROW((void)one.write_some(std::as_bytes(std::span("x"))), timed_out);
    EXPECT_FALSE(one.finish(20ms));
  });
}

TEST_P(TlsFaults, WhatIsKeptGoesOutBeforeTheEndOnABadDay) {
  run([] {
    const io::tls_context client = testing::client_context();
    const io::tls_context server = testing::server_context();
    for (int i = 0; i < 20; ++i) {
      auto [one, other] = testing::tls_over(testing::tcp_pair(), client, server);
      const faults bad(a_bad_day);
      auto reading = spawn([&s = other] { return read_all(s); });
      one.write_all(pattern(50'000));
      one.close();
      EXPECT_EQ(reading.get(), pattern(50'000));
    }
  });
}

}  // namespace
}  // namespace weft::faults_tls_test
