#include "weft/io/serve.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "io_test.hpp"
#include "weft/gather.hpp"
#include "weft/io/memory.hpp"
#include "weft/io/tcp.hpp"

namespace weft::io::serve_test {
namespace {

using namespace std::chrono_literals;
using testing::read_all;
using testing::run_others_until;
using testing::simulate;

void echo_lines(stream s) {
  for (;;) s.write_all(s.read_until("\n"));
}

std::string ask(stream& s, const std::string& line) {
  s.write_all(line);
  return s.read_until("\n");
}

class Serve : public testing::WithSockets {};
WEFT_ON_LOOPS(Serve);

TEST_P(Serve, EchoesUntilItIsStopped) {
  run([] {
    server s(listen(endpoint::loopback(0)), echo_lines);
    auto serving = spawn([&] { return s.run(); });
    for (int i = 0; i < 10; ++i) {
      stream client = connect(s.local());
      EXPECT_EQ(ask(client, "hello\n"), "hello\n");
      EXPECT_EQ(ask(client, "again\n"), "again\n");
    }
    s.stop();
    const serve_report report = serving.get();
    EXPECT_EQ(report.accepted, 10U);
    EXPECT_EQ(report.failed, 10U);  // its clients go away between two lines: end_of_stream
    EXPECT_EQ(report.cancelled, 0U);
    EXPECT_EQ(report.open, 0U);
  });
}

TEST_P(Serve, ConnectionsSpreadOverAllLoops) {
  run([] {
    std::mutex mutex;
    std::map<unsigned, unsigned> where;
    server s(listen(endpoint::loopback(0)), [&](stream connection) {
      {
        const std::lock_guard lock(mutex);
        ++where[this_loop()];
      }
      read_all(connection);
    });
    auto serving = spawn([&] { return s.run(); });
    std::vector<stream> clients;
    for (unsigned i = 0; i < 4 * loop_count(); ++i) clients.push_back(connect(s.local()));
    run_others_until([&] { return s.report().accepted == clients.size(); });
    clients.clear();
    s.stop();
    EXPECT_EQ(serving.get().finished, 4 * loop_count());
    EXPECT_EQ(where.size(), loop_count());
    for (const auto& [loop, count] : where) EXPECT_EQ(count, 4U) << "loop " << loop;
  });
}

TEST_P(Serve, ANewConnectionGoesToTheLoopThatHasTheFewest) {
  run([] {
    server s(listen(endpoint::loopback(0)), [&](stream connection) {
      connection.write_all(std::to_string(this_loop()) + "\n");
      read_all(connection);
    });
    auto serving = spawn([&] { return s.run(); });
    std::vector<std::pair<stream, unsigned>> clients;
    for (unsigned i = 0; i < 3 * loop_count(); ++i) {
      stream c = connect(s.local());
      const auto loop = static_cast<unsigned>(std::stoul(c.read_until("\n")));
      clients.emplace_back(std::move(c), loop);
    }
    // Those of one loop leave; the next ones take their places.
    const unsigned left = loop_count() - 1;
    std::erase_if(clients, [&](const auto& c) { return c.second == left; });
    run_others_until([&] { return s.report().open == clients.size(); });
    for (int i = 0; i < 3; ++i) {
      stream c = connect(s.local());
      EXPECT_EQ(c.read_until("\n"), std::to_string(left) + "\n");
      clients.emplace_back(std::move(c), left);
    }
    clients.clear();
    s.stop();
    serving.get();
  });
}

TEST_P(Serve, HereMeansTheListenersLoop) {
  run([] {
    const unsigned home = this_loop();
    std::atomic<unsigned> elsewhere = 0;
    server s(listen(endpoint::loopback(0)), [&](stream) { elsewhere += this_loop() != home; }, {.over = spread::here});
    auto serving = spawn([&] { return s.run(); });
    for (int i = 0; i < 5; ++i) {
      stream client = connect(s.local());
      EXPECT_EQ(read_all(client), "");
    }
    s.stop();
    EXPECT_EQ(serving.get().finished, 5U);
    EXPECT_EQ(elsewhere.load(), 0U);
  });
}

TEST_P(Serve, StopsWhenItsScopeIsCancelled) {
  run([] {
    endpoint at;
    auto serving = spawn([&] {
      listener l = listen(endpoint::loopback(0));
      at = l.local();
      serve(std::move(l), echo_lines, {.grace = 1ms});
    });
    run_others_until([&] { return static_cast<bool>(at); });
    stream client = connect(at);
    EXPECT_EQ(ask(client, "x\n"), "x\n");
    serving.cancel();
    EXPECT_THROW(serving.get(), cancelled);
    EXPECT_EQ(read_all(client), "");
    EXPECT_THROW(connect(at), error);
  });
}

TEST_P(Serve, StopWorksFromAnywhereAndBeforeTheStart) {
  run([] {
    for (int from = 0; from < 4; ++from) {
      server s(listen(endpoint::loopback(0)), echo_lines);
      if (from == 0) s.stop();
      auto serving = spawn([&] { return s.run(); });
      sleep_for(1ms);
      if (from == 1) spawn(on_loop(loop_count() - 1), [&] { s.stop(); }).get();
      if (from == 2) spawn_blocking([&] { s.stop(); }).get();
      if (from == 3) spawn_cpu([&] { s.stop(); }).get();
      EXPECT_EQ(serving.get().accepted, 0U);
      s.stop();
      EXPECT_THROW(s.run(), std::exception);
    }
  });
}

TEST_P(Serve, AHandlersErrorIsReportedAndEndsItsConnectionOnly) {
  run([] {
    std::mutex mutex;
    std::vector<std::string> said;
    server s(listen(endpoint::loopback(0)),
             [](stream connection) {
               if (connection.read_until("\n") == "bad\n") throw std::runtime_error("handler failed");
               connection.write_all("fine");
             },
             {.on_error = [&](const std::string& peer, std::exception_ptr e) {
               const std::lock_guard lock(mutex);
               try {
                 std::rethrow_exception(e);
               } catch (const std::exception& problem) {
                 said.push_back(peer + " " + problem.what());
               }
             }});
    auto serving = spawn([&] { return s.run(); });
    stream bad = connect(s.local());
    const std::string name = to_string(bad.local());
    bad.write_all("bad\n");
    EXPECT_EQ(read_all(bad), "");
    stream good = connect(s.local());
    good.write_all("good\n");
    EXPECT_EQ(read_all(good), "fine");
    s.stop();
    const auto report = serving.get();
    EXPECT_EQ(report.finished, 1U);
    EXPECT_EQ(report.failed, 1U);
    EXPECT_EQ(said, std::vector{name + " handler failed"});
  });
}

TEST_P(Serve, ACancelledHandlerOfAnotherScopeIsAFailure) {
  run([] {
    std::atomic<int> reported = 0;
    server s(listen(endpoint::loopback(0)),
             [](stream) {
               auto f = spawn([] { sleep_for(1h); });
               f.cancel();
               f.get();
             },
             {.on_error = [&](const std::string&, std::exception_ptr) { ++reported; }});
    auto serving = spawn([&] { return s.run(); });
    stream client = connect(s.local());
    EXPECT_EQ(read_all(client), "");
    s.stop();
    EXPECT_EQ(serving.get().failed, 1U);
    EXPECT_EQ(reported.load(), 1);
  });
}

// --- clients of the open internet ---

TEST_P(Serve, AClientThatSaysNothingIsLetGo) {
  run([] {
    server s(listen(endpoint::loopback(0)), echo_lines, {.first_byte = 10ms});
    auto serving = spawn([&] { return s.run(); });
    stream silent = connect(s.local());
    EXPECT_EQ(read_all(silent), "");
    run_others_until([&] { return s.report().failed == 1; });
    s.stop();
    serving.get();
  });
}

TEST_P(Serve, AClientThatStopsInTheMiddleOfALineIsLetGo) {
  run([] {
    server s(listen(endpoint::loopback(0)), echo_lines, {.idle = 10ms});
    auto serving = spawn([&] { return s.run(); });
    stream slow = connect(s.local());
    slow.write_all("half a li");
    EXPECT_EQ(read_all(slow), "");
    s.stop();
    EXPECT_EQ(serving.get().failed, 1U);
  });
}

TEST_P(Serve, AClientThatNeverReadsIsLetGo) {
  run([] {
    server s(listen(endpoint::loopback(0)),
             [](stream connection) {
               for (;;) connection.write_all(testing::pattern(100'000));
             },
             {.write_stall = 10ms});
    auto serving = spawn([&] { return s.run(); });
    stream deaf = connect(s.local());
    run_others_until([&] { return s.report().failed == 1; });
    s.stop();
    serving.get();
  });
}

TEST_P(Serve, AClientThatSendsWithoutEndIsLetGo) {
  run([] {
    server s(listen(endpoint::loopback(0)), echo_lines);
    auto serving = spawn([&] { return s.run(); });
    stream flood = connect(s.local());
    EXPECT_THROW(
        {
          for (;;) flood.write_all(testing::pattern(10'000));
        },
        error);
    s.stop();
    EXPECT_EQ(serving.get().failed, 1U);
  });
}

TEST_P(Serve, AConnectionThatLivesTooLongIsLetGo) {
  run([] {
    server s(listen(endpoint::loopback(0)), echo_lines, {.lifetime = 20ms});
    auto serving = spawn([&] { return s.run(); });
    stream client = connect(s.local());
    const auto start = clock::now();
    EXPECT_THROW(
        {
          for (;;) ask(client, "busy\n");
        },
        std::runtime_error);
    EXPECT_GE(clock::now() - start, 15ms);
    stream next = connect(s.local());
    EXPECT_EQ(ask(next, "hello\n"), "hello\n");
    next.close();
    s.stop();
    const serve_report report = serving.get();
    EXPECT_EQ(report.failed, 2U);
    EXPECT_EQ(report.cancelled, 0U);
  });
}

bool has_option(stream& s, int level, int name) {
  int value = -1;
  ::socklen_t size = sizeof(value);
  EXPECT_EQ(::getsockopt(s.native_handle(), level, name, &value, &size), 0);
  return value != 0;
}

TEST_P(Serve, TheListenersOfAllLoopsHaveTheOptionsOfTheFirst) {
  run([] {
    listener first = listen(endpoint::loopback(0), {.reuse_port = true, .no_delay = false, .keep_alive = true});
    const endpoint at = first.local();
    std::mutex mutex;
    std::set<unsigned> where;
    auto serving = spawn([&] {
      return serve_on_all_loops(std::move(first), [&](stream connection) {
        EXPECT_TRUE(has_option(connection, SOL_SOCKET, SO_KEEPALIVE));
        EXPECT_FALSE(has_option(connection, IPPROTO_TCP, TCP_NODELAY));
        const std::lock_guard lock(mutex);
        where.insert(this_loop());
      });
    });
    const auto seen = [&] {
      const std::lock_guard lock(mutex);
      return where.size();
    };
    for (int i = 0; i < 10'000 && seen() < loop_count(); ++i) {
      try {
        connect(at).finish();
      } catch (const error&) {  // of a listener that came late and took over some of the queue
      }
    }
    EXPECT_EQ(seen(), loop_count());
    serving.cancel();
    serving.wait();
  });
}

TEST_P(Serve, AListenerForEachLoopSharesThePort) {
  run([] {
    std::mutex mutex;
    std::map<unsigned, unsigned> where;
    listener first = listen(endpoint::loopback(0), {.reuse_port = true});
    const endpoint at = first.local();
    auto serving = spawn([&] {
      return serve_on_all_loops(std::move(first), [&](stream connection) {
        {
          const std::lock_guard lock(mutex);
          ++where[this_loop()];
        }
        echo_lines(std::move(connection));
      });
    });
    // The system spreads them by a hash, so how many it takes until each loop has one is its choice.
    const auto loops_seen = [&] {
      const std::lock_guard lock(mutex);
      return where.size();
    };
    for (int i = 0; i < 10'000 && loops_seen() < loop_count(); ++i) {
      try {
        stream client = connect(at);
        EXPECT_EQ(ask(client, "hello\n"), "hello\n");
      } catch (const error&) {  // of a listener that came late and took over some of the queue
      }
    }
    EXPECT_EQ(loops_seen(), loop_count());
    serving.cancel();
    EXPECT_THROW(serving.get(), cancelled);
    EXPECT_THROW(connect(at), error);
    EXPECT_THROW(serve_on_all_loops(memory_listen().first, echo_lines), std::invalid_argument);
  });
}

TEST_P(Serve, AClientThatResetsIsLetGo) {
  run([] {
    server s(listen(endpoint::loopback(0)), echo_lines);
    auto serving = spawn([&] { return s.run(); });
    for (int i = 0; i < 10; ++i) {
      stream rude = connect(s.local());
      testing::reset_on_close(rude);
      if (i % 2 == 0) rude.write_all("half");
      rude.close();
    }
    stream polite = connect(s.local());
    EXPECT_EQ(ask(polite, "hello\n"), "hello\n");
    polite.close();
    run_others_until([&] { return s.report().open == 0; });
    s.stop();
    const auto report = serving.get();
    EXPECT_EQ(report.failed, report.accepted);
  });
}

TEST_P(Serve, AtTheCapConnectionsWaitTheirTurn) {
  run([] {
    std::atomic<int> now = 0;
    std::atomic<int> most = 0;
    server s(listen(endpoint::loopback(0)),
             [&](stream connection) {
               const int n = ++now;
               for (int seen = most; seen < n && !most.compare_exchange_weak(seen, n);) {
               }
               connection.write_all("welcome\n");
               read_all(connection);
               --now;
             },
             {.max_connections = 3});
    auto serving = spawn([&] { return s.run(); });
    std::vector<future<void>> clients;
    for (int i = 0; i < 20; ++i)
      clients.push_back(spawn([&] {
        stream c = connect(s.local());
        EXPECT_EQ(c.read_until("\n"), "welcome\n");
        sleep_for(1ms);
      }));
    for (auto& c : clients) c.get();
    s.stop();
    EXPECT_EQ(serving.get().accepted, 20U);
    EXPECT_EQ(most.load(), 3);
  });
}

TEST_P(Serve, SurvivesRunningOutOfDescriptors) {
  run([] {
    std::atomic<int> reported = 0;
    server s(listen(endpoint::loopback(0)), echo_lines,
             {.on_error = [&](const std::string& who, std::exception_ptr) { reported += who.starts_with("127"); }});
    auto serving = spawn([&] { return s.run(); });
    stream early = connect(s.local());
    EXPECT_EQ(ask(early, "early\n"), "early\n");
    stream late;
    {
      // The client's socket is the last one there is.
      ::rlimit before{};
      ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
      const int next = ::dup(0);
      ::close(next);
      ::rlimit low = before;
      low.rlim_cur = static_cast<rlim_t>(next) + 1;
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
      late = connect(s.local());
      run_others_until([&] { return s.report().accept_failures >= 2; });
      EXPECT_EQ(ask(early, "still\n"), "still\n");
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    EXPECT_EQ(ask(late, "late\n"), "late\n");
    EXPECT_EQ(reported.load(), 1);  // once, not at each attempt
    early.close();
    late.close();
    s.stop();
    EXPECT_EQ(serving.get().accepted, 2U);
  });
}

TEST_P(Serve, TheDrainLetsRequestsInFlightEnd) {
  run([] {
    std::atomic<int> started = 0;
    server s(listen(endpoint::loopback(0)), [&](stream connection) {
      connection.read_until("\n");
      ++started;
      sleep_for(20ms);
      connection.write_all("answer");
    });
    auto serving = spawn([&] { return s.run(); });
    std::vector<stream> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(connect(s.local()));
      clients.back().write_all("question\n");
    }
    run_others_until([&] { return started == 8; });
    s.stop();
    for (auto& c : clients) EXPECT_EQ(read_all(c), "answer");
    const auto report = serving.get();
    EXPECT_EQ(report.finished, 8U);
    EXPECT_EQ(report.cancelled, 0U);
  });
}

TEST_P(Serve, TheEndOfTheRuntimeEndsTheServer) {
  const std::size_t before = testing::open_descriptors();
  weft::run(
      [] {
        listener l = listen(endpoint::loopback(0));
        const endpoint at = l.local();
        (void)spawn([source = std::move(l)]() mutable { serve(std::move(source), echo_lines); });
        stream client = connect(at);
        EXPECT_EQ(ask(client, "x\n"), "x\n");
      },
      settings());
  EXPECT_EQ(testing::open_descriptors(), before);
}

// --- the same on virtual time ---

TEST(ServeSimulated, TheGraceIsKeptAndTheRestIsCancelled) {
  simulate([] {
    auto [l, connector] = memory_listen();
    std::atomic<int> reasons = 0;
    server s(std::move(l),
             [&](stream connection) {
               try {
                 sleep_for(connection.read_until("\n") == "long\n" ? 1h : 5s);
               } catch (const cancelled& c) {
                 reasons += c.reason() == cancel_reason::shutdown;
                 throw;
               }
               connection.write_all("done");
             },
             {.grace = 10s});
    auto serving = spawn([&] { return s.run(); });
    auto quick = spawn(on_loop(1), [c = connector] {
      stream client = c.connect();
      client.write_all("short\n");
      return read_all(client);
    });
    auto slow = spawn(on_loop(1), [c = connector] {
      stream client = c.connect();
      client.write_all("long\n");
      return read_all(client);
    });
    sleep_for(1s);
    s.stop();
    const auto start = clock::now();
    const auto report = serving.get();
    EXPECT_EQ(clock::now() - start, 10s);
    EXPECT_EQ(quick.get(), "done");
    EXPECT_EQ(slow.get(), "");
    EXPECT_EQ(report.accepted, 2U);
    EXPECT_EQ(report.finished, 1U);
    EXPECT_EQ(report.cancelled, 1U);
    EXPECT_EQ(reasons.load(), 1);
    EXPECT_THROW(connector.connect(), error);
  });
}

TEST(ServeSimulated, ADrainEndsAsSoonAsTheLastConnectionDoes) {
  simulate([] {
    auto [l, connector] = memory_listen();
    server s(std::move(l), [](stream) { sleep_for(3s); });
    auto serving = spawn([&] { return s.run(); });
    stream client = connector.connect();
    sleep_for(1s);
    s.stop();
    const auto start = clock::now();
    serving.get();
    EXPECT_EQ(clock::now() - start, 2s);
  });
}

TEST(ServeSimulated, StoppedAtAnyMomentItAccountsForEveryConnection) {
  simulate([] {
    auto [l, connector] = memory_listen(64);
    server s(std::move(l),
             [](stream connection) {
               const auto line = connection.read_until("\n");
               sleep_for(std::chrono::milliseconds(sim::draw(10)));
               connection.write_all(line);
             },
             {.max_connections = 1 + sim::draw(4), .grace = std::chrono::milliseconds(sim::draw(10))});
    auto serving = spawn([&] { return s.run(); });
    std::vector<future<bool>> clients;
    for (int i = 0; i < 12; ++i)
      clients.push_back(spawn(on_loop(static_cast<unsigned>(i) % 2), [c = connector] {
        sleep_for(std::chrono::milliseconds(sim::draw(20)));
        try {
          stream client = c.connect();
          client.write_all("line\n");
          return client.read_until("\n") == "line\n";
        } catch (const std::exception&) {
          return false;  // refused, or cut off
        }
      }));
    sleep_for(std::chrono::milliseconds(1 + sim::draw(30)));
    if (sim::draw(2) == 0) {
      s.stop();
      serving.get();
    } else {
      serving.cancel();
      EXPECT_THROW(serving.get(), cancelled);
    }
    const auto report = s.report();
    std::uint64_t answered = 0;
    for (auto& c : clients) answered += c.get();
    EXPECT_EQ(report.open, 0U);
    EXPECT_EQ(report.accepted, report.finished + report.failed + report.cancelled);
    EXPECT_EQ(answered, report.finished);
  });
}

}  // namespace
}  // namespace weft::io::serve_test
