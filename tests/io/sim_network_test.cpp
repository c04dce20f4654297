#include "weft/io/sim_network.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "io_test.hpp"
#include "weft/gather.hpp"
#include "weft/io/happy_eyeballs.hpp"
#include "weft/io/serve.hpp"
#include "weft/io/testing/streams.hpp"
#include "weft/task_group.hpp"

namespace weft::io::sim_network_test {
namespace {

using namespace std::chrono_literals;
using testing::pattern;
using testing::read_all;
using testing::simulate;
using testing::time_of;

// A network that never fails and always takes 1 ms.
constexpr link_options steady = {.min_latency = 1ms, .max_latency = 1ms, .cuts = false};

/// Two hosts and a connection from the first to the second.
struct two_hosts {
  explicit two_hosts(const link_options& link = steady) : net({.link = link}) {
    listener l = b.listen(80);
    one = a.connect(l.local());
    other = l.accept();
  }
  simulated_network net;
  simulated_host a = net.add_host("a");
  simulated_host b = net.add_host("b");
  stream one;
  stream other;
};

std::errc code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const error& e) {
    return static_cast<std::errc>(e.code().value());
  }
  return {};
}

std::pair<stream, stream> pair_over(const link_options& link) {
  two_hosts t(link);
  return {std::move(t.one), std::move(t.other)};
}

TEST(SimNetwork, ItsStreamsKeepTheContract) {
  const auto check = [](const char* name, const link_options& link) {
    EXPECT_NO_THROW(testing::check_stream({.name = name,
                                           .pair = [&] { return pair_over(link); },
                                           .break_off = [](stream& s) { simulated_network::reset(s); },
                                           .simulated = true,
                                           .real = false},
                                          {.seeds = testing::seeds() / 10}));
  };
  check("a usual network", {.window = 4000});
  check("a network without latency", {.min_latency = 0ns, .max_latency = 0ns, .window = 500});
  check("a slow network", {.min_latency = 1ms, .max_latency = 100ms, .bytes_per_second = 1'000'000, .window = 3000});
}

TEST(SimNetwork, TakesTheTimeItWasTold) {
  simulate([] {
    two_hosts t({.min_latency = 3ms, .max_latency = 7ms, .cuts = false});
    t.one.write_all("x");
    char c[1];
    const auto took = time_of([&] { t.other.read_exactly(std::span(c)); });
    EXPECT_GE(took, 3ms);
    EXPECT_LE(took, 7ms);
    t.net.set_link(t.a, t.b, {.min_latency = 1ms, .max_latency = 1ms, .bytes_per_second = 20'000});
    const std::string sent = pattern(10'000);
    auto writer = spawn([&] { t.one.write_all(sent); });
    std::string got(sent.size(), '\0');
    const auto all = time_of([&] { t.other.read_exactly(std::span(got)); });
    EXPECT_GE(all, 500ms);
    EXPECT_LE(all, 1500ms);
    EXPECT_EQ(got, sent);
    writer.get();
  });
}

TEST(SimNetwork, ConnectingTakesATripThereAndBack) {
  simulate([] {
    simulated_network net({.link = steady});
    const auto a = net.add_host("a");
    const auto b = net.add_host("b");
    listener l = b.listen();
    EXPECT_EQ(time_of([&] { EXPECT_TRUE(a.connect(l.local()).is_open()); }), 2ms);
    stream s = l.accept();
    EXPECT_EQ(s.local(), l.local());
    EXPECT_EQ(s.peer().address(), "10.0.0.1");
    EXPECT_EQ(s.peer().address(), a.address().address());
    EXPECT_EQ(read_all(s), "");
  });
}

TEST(SimNetwork, WhereNobodyListensConnectsAreRefused) {
  simulate([] {
    simulated_network net({.link = steady});
    const auto a = net.add_host("a");
    const auto b = net.add_host("b");
    EXPECT_EQ(code_of([&] { (void)a.connect(b.address(80)); }), std::errc::connection_refused);
    listener l = b.listen(80);
    EXPECT_EQ(code_of([&] { (void)b.listen(80); }), std::errc::address_in_use);
    stream c = a.connect(b.address(80));
    l.close();  // c was not accepted
    EXPECT_EQ(code_of([&] { read_all(c); }), std::errc::connection_reset);
    EXPECT_EQ(code_of([&] { (void)a.connect(b.address(80)); }), std::errc::connection_refused);
    l = b.listen(80);
    EXPECT_TRUE(a.connect(b.address(80)).is_open());
  });
}

TEST(SimNetwork, OverACutLinkConnectsTimeOutAndGoOnWhenItIsWhole) {
  simulate([] {
    simulated_network net;
    const auto a = net.add_host("a");
    const auto b = net.add_host("b");
    listener l = b.listen(80);
    net.cut(a, b);
    EXPECT_EQ(time_of([&] { EXPECT_EQ(code_of([&] { (void)a.connect(l.local(), 5s); }), std::errc::timed_out); }), 5s);
    EXPECT_EQ(code_of([&] { (void)a.connect(endpoint::parse("10.9.9.9:80"), 5s); }), std::errc::timed_out);
    auto connecting = spawn([&] { return a.connect(l.local()); });
    sleep_for(1s);
    EXPECT_FALSE(connecting.ready());
    net.heal(a, b);
    stream s = std::move(connecting).get();
    EXPECT_FALSE(move_on_after(150us, [&] { (void)a.connect(l.local()); }));  // and cancelled it is given up
  });
}

TEST(SimNetwork, WhatIsSentIntoACutWaitsAndComesInOrder) {
  simulate([] {
    two_hosts t{link_options{}};
    t.one.write_all("before,");
    sleep_for(1s);
    t.one.write_all("under way,");
    t.net.cut(t.a, t.b);
    t.one.write_all("during,");
    t.one.shutdown_write();
    t.other.read_timeout(1min);
    std::string got;
    EXPECT_THROW(
        {
          char c[1];
          while (t.other.read_some(std::span(c)) > 0) got += c[0];
        },
        timed_out);
    EXPECT_EQ(got.substr(0, 7), "before,");
    EXPECT_EQ(got.find("during"), std::string::npos);
    t.net.heal(t.a, t.b);
    EXPECT_EQ(got + read_all(t.other), "before,under way,during,");
  });
}

TEST(SimNetwork, OneWayMayBeCutAlone) {
  simulate([] {
    two_hosts t;
    t.net.cut_one_way(t.b, t.a);
    t.one.write_all("heard");
    char some[5];
    t.other.read_exactly(std::span(some));
    EXPECT_EQ(std::string_view(some, 5), "heard");
    t.other.write_all("answer");
    EXPECT_FALSE(move_on_after(1min, [&] { return t.one.read_until("r"); }));
    t.net.heal(t.a, t.b);
    EXPECT_EQ(t.one.read_until("r"), "answer");
  });
}

TEST(SimNetwork, WhoSendsIntoACutGivesUpInTheEndAndWhoReadsNever) {
  simulate([] {
    two_hosts t({.min_latency = 1ms, .max_latency = 1ms, .give_up = 10min});
    t.net.cut(t.a, t.b);
    auto sender = spawn([&] {
      t.one.write_all("hello?");
      const auto waited = time_of([&] { EXPECT_EQ(code_of([&] { read_all(t.one); }), std::errc::timed_out); });
      EXPECT_EQ(waited, 10min);
      EXPECT_EQ(code_of([&] { t.one.write_all("x"); }), std::errc::timed_out);
    });
    EXPECT_FALSE(move_on_after(24h, [&] { read_all(t.other); }));
    sender.get();
  });
}

TEST(SimNetwork, AResetIsToldToTheOtherSideUnlessTheLinkIsCut) {
  simulate([] {
    for (const bool cut : {false, true}) {
      two_hosts t;
      if (cut) t.net.cut(t.a, t.b);
      simulated_network::reset(t.one);
      EXPECT_EQ(code_of([&] { t.one.write_all("x"); }), std::errc::connection_reset);
      EXPECT_EQ(code_of([&] { read_all(t.one); }), std::errc::connection_reset);
      if (cut) {
        EXPECT_FALSE(move_on_after(1h, [&] { read_all(t.other); }));  // half open
        t.net.heal(t.a, t.b);
        EXPECT_FALSE(move_on_after(1h, [&] { read_all(t.other); }));
        t.other.write_all("are you there?");
      }
      EXPECT_EQ(time_of([&] { EXPECT_EQ(code_of([&] { read_all(t.other); }), std::errc::connection_reset); }),
                cut ? 2ms : 1ms);
    }
  });
  simulate([] {
    auto [one, other] = memory_pair();
    EXPECT_THROW(simulated_network::reset(one), std::invalid_argument);
  });
}

TEST(SimNetwork, WhatComesAfterACloseDropsWhatIsUnderWay) {
  simulate([] {
    two_hosts t({.min_latency = 2ms, .max_latency = 2ms, .bytes_per_second = 100'000});
    t.other.write_all("unread");
    t.one.write_all(pattern(1000));  // it takes 10 ms to get there
    t.one.close();
    EXPECT_EQ(code_of([&] { read_all(t.other); }), std::errc::connection_reset);
    EXPECT_LT(t.other.bytes_read(), 1000U);
  });
}

TEST(SimNetwork, FinishWaitsForWhatIsUnderWay) {
  simulate([] {
    two_hosts t({.min_latency = 2ms, .max_latency = 2ms, .bytes_per_second = 100'000});
    t.other.write_all("unread");
    t.one.write_all(pattern(1000));
    auto finished = spawn([&] { return t.one.finish(); });
    EXPECT_EQ(read_all(t.other), pattern(1000));
    t.other.write_all("more");
    t.other.close();
    EXPECT_TRUE(finished.get());
  });
}

TEST(SimNetwork, WhatIsSentToAClosedStreamIsAnsweredByAReset) {
  simulate([] {
    two_hosts t;
    t.one.close();
    EXPECT_EQ(read_all(t.other), "");
    t.other.write_all("too late");
    sleep_for(2ms);
    EXPECT_EQ(code_of([&] { t.other.write_all("x"); }), std::errc::connection_reset);
  });
}

TEST(SimNetwork, AHostThatCrashesTellsNobody) {
  simulate([] {
    simulated_network net({.link = steady});
    const auto a = net.add_host("a");
    const auto b = net.add_host("b");
    listener l = b.listen(80);
    stream one = a.connect(l.local());
    stream other = l.accept();
    auto waiting = spawn([&] { EXPECT_EQ(code_of([&] { read_all(other); }), std::errc::network_down); });
    yield();
    b.crash();
    waiting.get();
    EXPECT_THROW((void)l.accept(), stream_closed);
    EXPECT_EQ(code_of([&] { (void)b.connect(a.address(1)); }), std::errc::network_down);
    EXPECT_EQ(code_of([&] { (void)b.listen(81); }), std::errc::network_down);
    EXPECT_EQ(code_of([&] { (void)a.connect(b.address(80), 1s); }), std::errc::timed_out);
    one.write_all("hello?");
    EXPECT_FALSE(move_on_after(1min, [&] { read_all(one); }));
    b.restart();
    EXPECT_EQ(code_of([&] { read_all(one); }), std::errc::connection_reset);
    EXPECT_EQ(code_of([&] { (void)a.connect(b.address(80)); }), std::errc::connection_refused);
    l = b.listen(80);
    EXPECT_TRUE(a.connect(b.address(80)).is_open());
  });
}

TEST(SimNetwork, AWriterWhosePeerCrashedWithAFullWindowLearnsOfItAfterTheRestart) {
  simulate([] {
    two_hosts t({.min_latency = 1ms, .max_latency = 1ms, .window = 1000});
    auto writer =
        spawn([&] { EXPECT_EQ(code_of([&] { t.one.write_all(pattern(5000)); }), std::errc::connection_reset); });
    sleep_for(1s);
    t.b.crash();
    sleep_for(1min);
    t.b.restart();
    writer.get();
  });
}

TEST(SimNetwork, AFullBacklogHasConnectsTryAgain) {
  simulate([] {
    simulated_network net({.link = steady});
    const auto a = net.add_host("a");
    const auto b = net.add_host("b");
    listener l = b.listen(80, 1);
    stream first = a.connect(l.local());
    auto second = spawn([&] { return time_of([&] { (void)a.connect(l.local()); }); });
    EXPECT_EQ(code_of([&] { (void)a.connect(l.local(), 500ms); }), std::errc::timed_out);
    (void)l.accept();
    EXPECT_GE(second.get(), 1s);
  });
}

TEST(SimNetwork, AcceptsFailAsTheyAreTold) {
  simulate([] {
    simulated_network net({.link = steady});
    const auto a = net.add_host("a");
    const auto b = net.add_host("b");
    listener l = b.listen(80);
    stream c = a.connect(l.local());
    b.fail_accepts(2, EMFILE);
    EXPECT_EQ(code_of([&] { (void)l.accept(); }), std::errc::too_many_files_open);
    EXPECT_EQ(code_of([&] { (void)l.accept(); }), std::errc::too_many_files_open);
    (void)l.accept();
    c = a.connect(l.local());
    b.fail_accepts(1, ECONNABORTED);
    EXPECT_EQ(code_of([&] { (void)l.accept(); }), std::errc::connection_aborted);
    EXPECT_EQ(code_of([&] { read_all(c); }), std::errc::connection_reset);
  });
}

TEST(SimNetwork, CancelledAcceptsAndConnectsLoseNobody) {
  testing::expect_cancel_safe([](testing::cancel_probe& probe) {
    simulated_network net;
    const auto a = net.add_host("a");
    const auto b = net.add_host("b");
    listener l = b.listen(80);
    auto client = spawn([&] { return a.connect(l.local()).read_until("!"); });
    stream s;
    probe.cancelled_task([&] { s = l.accept(); });
    probe.check([&] {
      if (!s.is_open()) s = l.accept();
      s.write_all("hi!");
      s.close();
      return client.get() == "hi!";
    });
  });
  testing::expect_cancel_safe([](testing::cancel_probe& probe) {
    simulated_network net;
    const auto a = net.add_host("a");
    const auto b = net.add_host("b");
    listener l = b.listen(80);
    probe.cancelled_task([&] { (void)a.connect(l.local()); });
    probe.check([&] {
      // Whatever got through has ended.
      while (auto s = move_on_after(1s, [&] { return l.accept(); })) EXPECT_EQ(read_all(*s), "");
      return a.connect(l.local()).is_open();
    });
  });
}

TEST(SimNetwork, HappyEyeballsPassesByAHostThatIsDown) {
  simulate([] {
    simulated_network net({.link = steady});
    const auto client = net.add_host("client");
    const auto dead = net.add_host("dead");
    const auto alive = net.add_host("alive");
    listener l = alive.listen(80);
    dead.crash();
    const auto look_up = [&](address_family family) {
      return family == address_family::v4 ? std::vector{dead.address(80), alive.address(80)} : std::vector<endpoint>();
    };
    stream s = happy_eyeballs("service", look_up, [&](const endpoint& e) { return client.connect(e); });
    EXPECT_EQ(s.peer(), l.local());
    EXPECT_LT(clock::now().time_since_epoch(), 2s);  // it began at 1 s
  });
}

// --- programs ---

// Each request is a number on a line, the answer its double. Clients try again until they have it.
std::string play_a_service(const network_options& options) {
  std::string trace;
  network_options traced = options;
  traced.trace = [&](std::string_view line) { (trace += line) += '\n'; };
  simulated_network net(traced);
  const auto there = net.add_host("server");
  const auto here = net.add_host("client");
  const auto handle = [](stream s) {
    for (auto& line : s.lines()) s.write_all(std::to_string(2 * std::stoi(line)) + "\n");
  };
  std::uint64_t failures = 0;
  server s(there.listen(80), handle,
           {.grace = 1s, .on_error = [&](const std::string&, std::exception_ptr) { ++failures; }});
  auto serving = spawn([&] { return s.run(); });
  int answered = 0;
  with_group([&](task_group& g) {
    for (int c = 0; c < 4; ++c)
      g.spawn(on_loop(static_cast<unsigned>(c) % loop_count()), [&, c] {
        stream link;
        for (int i = 0; i < 5;) {
          try {
            if (!link.is_open()) {
              link = here.connect(there.address(80), 2s);
              link.read_timeout(3s);
            }
            link.write_all(std::to_string(10 * c + i) + "\n");
            EXPECT_EQ(link.read_until("\n"), std::to_string(2 * (10 * c + i)) + "\n");
            ++answered;
            ++i;
            continue;
          } catch (const error&) {
          } catch (const end_of_stream&) {
          } catch (const timed_out&) {
          }
          link = stream();
          sleep_for(100ms);
        }
      });
    g.spawn([&] {
      sleep_for(std::chrono::milliseconds(sim::draw(200)));
      net.cut(here, there);
      sleep_for(std::chrono::milliseconds(sim::draw(5000)));
      net.heal(here, there);
    });
  });
  EXPECT_EQ(answered, 20);
  s.stop();
  const serve_report report = serving.get();
  EXPECT_EQ(report.accepted, report.finished + report.failed + report.cancelled);
  EXPECT_EQ(report.open, 0U);
  EXPECT_GE(failures, report.failed);
  return trace;
}

TEST(SimNetwork, AServerAndItsClientsComeThroughWhateverItDoes) {
  simulate([] { play_a_service({.link = {.resets = 0.05}, .accept_failures = 0.3}); });
}

TEST(SimNetwork, TheSameSeedPlaysTheSameAgain) {
  const auto play = [](std::uint64_t seed) {
    std::string trace;
    sim::run(seed, [&] { trace = play_a_service({.link = {.resets = 0.05}, .accept_failures = 0.3}); }, {.loops = 2});
    return trace;
  };
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const std::string first = play(seed);
    EXPECT_GT(std::count(first.begin(), first.end(), '\n'), 40);
    EXPECT_EQ(play(seed), first) << "seed " << seed;
    EXPECT_NE(play(seed + 1), first) << "seed " << seed;
  }
}

// A reader that takes one read for one message.
TEST(SimNetwork, FindsWhoTakesAReadForAMessageWithinThreeSeeds) {
  const auto program = [](bool planted) {
    two_hosts t{link_options{}};
    t.one.write_all("twelve bytes");
    char some[12];
    std::size_t n = sizeof(some);
    if (planted)
      n = t.other.read_some(std::span(some));
    else
      t.other.read_exactly(std::span(some));
    if (n != 12) throw std::runtime_error("a message cut short");
  };
  EXPECT_LT(sim::find_failing_seed(0, 3, [&] { program(true); }), 3U);
  EXPECT_EQ(sim::find_failing_seed(0, testing::seeds(), [&] { program(false); }), testing::seeds());
}

// A client that waits for an answer without a deadline, over a link that is cut for ever at some time.
TEST(SimNetwork, FindsWhoWaitsWithoutADeadlineWithinTenSeeds) {
  const auto program = [](bool planted) {
    two_hosts t{link_options{}};
    with_group([&](task_group& g) {
      g.spawn([&] {
        for (auto& line : t.other.lines()) t.other.write_all(line + "\n");
      });
      g.spawn([&] {
        sleep_for(std::chrono::milliseconds(sim::draw(300)));
        t.net.cut(t.a, t.b);
      });
      if (!planted) t.one.read_timeout(10s);
      try {
        for (int i = 0; i < 10; ++i) {
          t.one.write_all("ping\n");
          (void)t.one.read_until("\n");
        }
      } catch (const timed_out&) {
      }
      g.cancel();
    });
    if (clock::now().time_since_epoch() > 1min) throw std::runtime_error("somebody waited for too long");
  };
  EXPECT_LT(sim::find_failing_seed(0, 10, [&] { program(true); }), 10U);
  EXPECT_EQ(sim::find_failing_seed(0, testing::seeds(), [&] { program(false); }), testing::seeds());
}

// A server that loses what comes behind a line in the same read is found where requests are pipelined.
TEST(SimNetwork, FindsAServerThatDropsPipelinedRequestsWithinTenSeeds) {
  const auto program = [](bool planted) {
    two_hosts t{link_options{}};
    std::string got;
    with_group([&](task_group& g) {
      g.spawn([&] {
        char some[64];
        std::string rest;
        while (const std::size_t n = t.other.read_some(std::span(some))) {
          rest.append(some, n);
          for (auto end = rest.find('\n'); end != std::string::npos; end = rest.find('\n')) {
            t.other.write_all(rest.substr(0, end + 1));
            rest.erase(0, planted ? std::string::npos : end + 1);
          }
        }
        t.other.shutdown_write();
      });
      t.one.write_all("1\n2\n3\n");
      t.one.shutdown_write();
      got = read_all(t.one);
    });
    if (got != "1\n2\n3\n") throw std::runtime_error("requests were dropped");
  };
  EXPECT_LT(sim::find_failing_seed(0, 10, [&] { program(true); }), 10U);
  EXPECT_EQ(sim::find_failing_seed(0, testing::seeds(), [&] { program(false); }), testing::seeds());
}

TEST(SimNetwork, ItsStreamsAndListenersMayOutliveIt) {
  stream kept;
  listener waiting;
  sim::run(1, [&] {
    two_hosts t;
    waiting = t.b.listen(81);
    kept = std::move(t.one);
  });
  char c[1];
  EXPECT_THROW((void)kept.read_some(std::span(c)), wrong_loop);
}

TEST(SimNetwork, IsForSimulationsAndSaneOptions) {
  EXPECT_THROW(simulated_network(), no_runtime);
  weft::run([] { EXPECT_THROW(simulated_network(), no_runtime); });
  sim::run(1, [] {
    EXPECT_THROW(simulated_network({.link = {.min_latency = 2ms, .max_latency = 1ms}}), std::invalid_argument);
    EXPECT_THROW(simulated_network({.link = {.window = 0}}), std::invalid_argument);
    simulated_network net;
    for (int i = 0; i < 250; ++i) (void)net.add_host("h");
    EXPECT_THROW(net.add_host("one too many"), std::invalid_argument);
  });
}

}  // namespace
}  // namespace weft::io::sim_network_test
