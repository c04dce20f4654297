// TLS over connections that are cut, reset, silent or changed at any byte of them, on virtual time. Below sockets:
// tests/faults.

#include <gtest/gtest.h>

#include <exception>
#include <string>

#include "io_test.hpp"
#include "papers.hpp"
#include "weft/io/tls.hpp"

namespace weft::io::tls_cut_test {
namespace {

using namespace std::chrono_literals;
using testing::pattern;
using testing::read_all;
using testing::simulate;

enum class harm : std::uint8_t { end, reset, silence, change };
enum class patience : std::uint8_t { of_reads, of_the_whole, until_cancelled };

// Somebody between the two, who does harm at one byte of one direction.
struct middle {
  const harm what = static_cast<harm>(sim::draw(4));
  const bool to_client = sim::draw(2) == 0;
  const std::uint64_t at = sim::draw(9000);
  bool done = false;

  void pass(stream& from, stream& to, bool harms) {
    std::uint64_t passed = 0;
    char some[700];
    try {
      while (const std::size_t n = from.read_some(std::span(some))) {
        std::string_view bytes(some, n);
        if (harms && passed <= at && at < passed + n) {
          done = true;
          const auto place = static_cast<std::size_t>(at - passed);
          if (what == harm::change) {
            some[place] = static_cast<char>(some[place] ^ 1);
          } else {
            to.write_all(bytes.substr(0, place));
            break;
          }
        }
        to.write_all(bytes);
        passed += n;
      }
      if (harms && done && what == harm::reset) {
        simulated_network::reset(from);
        simulated_network::reset(to);
      }
      if (!harms || !done || what != harm::silence) to.shutdown_write();
      (void)read_all(from);
    } catch (const error&) {
      simulated_network::reset(to);
    }
  }
};

struct outcome {
  std::string got;
  std::string problem;
  bool allowed = true;   ///< such a problem
  bool gave_up = false;  ///< and so ended its stream itself, which is a proper end
};

outcome judge(const middle& m, const std::function<std::string()>& talk) {
  outcome o;
  try {
    o.got = talk();
  } catch (const tls_error& e) {
    o.problem = e.what();
    o.allowed = e.problem() == tls_problem::truncated || m.what == harm::change;
  } catch (const error& e) {
    o.problem = e.what();
    o.allowed = e.code() == std::errc::connection_reset || e.code() == std::errc::broken_pipe;
  } catch (const timed_out& e) {
    o.problem = e.what();
    o.allowed = m.what == harm::silence || m.what == harm::change;  // of a length, say
    o.gave_up = true;
  }
  return o;
}

outcome outcome_of(future<outcome>& f, const middle& m) {
  try {
    return f.get();
  } catch (const cancelled&) {
    outcome o;
    o.problem = "cancelled";
    o.allowed = m.what == harm::silence || m.what == harm::change;
    o.gave_up = true;
    return o;
  }
}

TEST(TlsCut, AnywhereIsAnErrorAndNeverTheEndOfTheStream) {
  const tls_context client = testing::client_context();
  const tls_context server = testing::server_context();
  const std::string question = pattern(3000);
  const std::string answer = pattern(5000);
  simulate([&] {
    middle between;
    const auto how = static_cast<patience>(sim::draw(3));
    simulated_network net({.link = {.max_latency = 1ms}});
    const auto left = net.add_host("left");
    const auto right = net.add_host("right");
    listener l = right.listen(443);
    const auto connect = [&] {
      stream one = left.connect(l.local());
      return std::pair(std::move(one), l.accept());
    };
    auto [ours, near_end] = connect();
    auto [far_end, theirs] = connect();
    stream* const near = &near_end;
    stream* const far = &far_end;
    auto there = spawn([&, near, far] { between.pass(*near, *far, !between.to_client); });
    auto back = spawn([&, near, far] { between.pass(*far, *near, between.to_client); });
    for (stream* s : {&ours, &theirs})
      if (how == patience::of_reads) s->read_timeout(5s);
    const auto start = clock::now();
    const auto patiently = [&](const std::function<std::string()>& talk) {
      return judge(between, [&] { return how == patience::of_the_whole ? timeout(20s, talk) : talk(); });
    };
    auto asking = spawn([&, over = std::move(ours)]() mutable {
      return patiently([&] {
        stream s = tls_connect(std::move(over), "server.test", client);
        s.write_all(question);
        s.shutdown_write();
        return read_all(s);
      });
    });
    auto answering = spawn([&, over = std::move(theirs)]() mutable {
      return patiently([&] {
        stream s = tls_accept(std::move(over), server);
        std::string got = read_all(s);
        for (std::size_t i = 0; i < answer.size(); i += 1000) s.write_all(std::string_view(answer).substr(i, 1000));
        return got;
      });
    });
    if (how == patience::until_cancelled) {
      sleep_for(30s);
      asking.cancel();
      answering.cancel();
    }
    const outcome asked = outcome_of(asking, between);
    const outcome answered = outcome_of(answering, between);
    there.get();
    back.get();
    EXPECT_LE(clock::now() - start, 1min);
    const auto check = [&](const outcome& o, const std::string& text, const outcome& of_other) {
      EXPECT_TRUE(o.allowed) << o.problem;
      if (!between.done) {
        EXPECT_EQ(o.problem, "");
      }
      if (o.problem.empty()) {
        EXPECT_TRUE(o.got == text || (of_other.gave_up && text.starts_with(o.got))) << o.got.size();
      }
    };
    check(asked, answer, answered);
    check(answered, question, asked);
    // Not all came to one of the two: who was to have it knows. (Of a change to what nobody protects, nobody does.)
    const outcome& victim = between.to_client ? asked : answered;
    if (between.done && between.what != harm::change) {
      EXPECT_NE(victim.problem, "") << between.at;
    }
  });
}

TEST(TlsCut, ACancellationAnywhereClosesTheStreamAndTheOtherSideLearnsOfIt) {
  auto options = testing::trusting();
  options.max_sessions = 0;
  const tls_context client = tls_context::client(options);
  const tls_context server = testing::server_context();
  for (const bool of_client : {true, false})
    testing::expect_cancel_safe([&](testing::cancel_probe& probe) {
      auto pair = memory_pair(700);
      stream& one = pair.first;
      stream& other = pair.second;
      const auto ask = [&] {
        stream s = tls_connect(std::move(one), "server.test", client);
        s.write_all("line\n");
        EXPECT_EQ(s.read_until("\n"), "line\n");
        if (!s.finish(1h)) throw end_of_stream("finish", s.describe(), 0);
      };
      const auto answer = [&] {
        stream s = tls_accept(std::move(other), server);
        s.write_all(s.read_until("\n"));
        EXPECT_EQ(read_all(s), "");
        s.close();
      };
      std::string problem;
      auto theirs = spawn([&] {
        try {
          of_client ? answer() : ask();
        } catch (const std::exception& e) {
          problem = e.what();
        }
      });
      bool whole = false;
      probe.cancelled_task([&] {
        of_client ? ask() : answer();
        whole = true;
      });
      probe.check([&] {
        one.close();
        other.close();  // where it was cancelled before it had them
        theirs.get();
        return !whole || problem.empty();
      });
    });
}

}  // namespace
}  // namespace weft::io::tls_cut_test
