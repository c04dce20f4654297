#include "weft/io/memory.hpp"

#include <gtest/gtest.h>

#include <string>

#include "io_test.hpp"
#include "weft/gather.hpp"

namespace weft::io::memory_test {
namespace {

using namespace std::chrono_literals;
using testing::pattern;
using testing::read_all;
using testing::simulate;

TEST(Memory, EverySeedEchoesEveryByte) {
  simulate([] {
    auto [one, other] = memory_pair(1 + sim::draw(200));
    const std::string sent = pattern(2000);
    auto echo = spawn([&s = other] {
      char some[100];
      while (const std::size_t n = s.read_some(std::span(some))) s.write_all(std::string_view(some, n));
      s.shutdown_write();
    });
    auto writer = spawn([&, &s = one] {
      s.write_all(sent);
      s.shutdown_write();
    });
    EXPECT_EQ(read_all(one), sent);
    echo.get();
    writer.get();
  });
}

TEST(Memory, TheTwoEndsMayBeOnTwoLoops) {
  simulate([] {
    auto [one, other] = memory_pair(16);
    other.move_to(1);
    auto echo = spawn(on_loop(1), [s = std::move(other)]() mutable {
      for (int i = 0; i < 20; ++i) s.write_all(s.read_until("\n"));
    });
    for (int i = 0; i < 20; ++i) {
      const std::string line = pattern(static_cast<std::size_t>(i) * 3) + "\n";
      one.write_all(line);
      EXPECT_EQ(one.read_until("\n"), line);
    }
    echo.get();
    EXPECT_EQ(read_all(one), "");
  });
}

TEST(Memory, CancelledAtEachPlaceAReadOrWriteLosesNoByte) {
  for (const bool reads : {true, false}) {
    testing::expect_cancel_safe([reads](testing::cancel_probe& probe) {
      auto [one, other] = memory_pair(8);
      const std::string sent = "a line of text\n";
      std::string got;
      std::size_t written = 0;
      const auto write = [&, &s = one] {
        while (written < sent.size()) written += s.write_some(std::as_bytes(std::span(sent).subspan(written)));
      };
      const auto read = [&, &s = other] { got = s.read_until("\n"); };
      auto partner = reads ? spawn(write) : spawn(read);
      if (reads)
        probe.cancelled_task(read);
      else
        probe.cancelled_task(write);
      probe.check([&, &s = other] {
        if (reads && got.empty()) read();
        if (!reads) write();
        partner.get();
        return got == sent && s.buffered().empty();
      });
    });
  }
}

TEST(Memory, CancellingAtAnyPointLosesNothing) {
  simulate([] {
    auto [one, other] = memory_pair(8);
    const std::string sent = pattern(300) + "\n";
    auto writer = spawn([&, &s = one] {
      std::string_view rest = sent;
      while (!rest.empty()) {
        const auto before = s.bytes_written();
        move_on_after(std::chrono::nanoseconds(sim::draw(50)), [&] { s.write_all(rest); });
        rest.remove_prefix(s.bytes_written() - before);
        sleep_for(std::chrono::nanoseconds(sim::draw(20)));
      }
    });
    std::string line;
    while (line.empty()) {
      if (auto got = move_on_after(std::chrono::nanoseconds(1 + sim::draw(5000)), [&, &s = other] {
            if (sim::draw(2) == 0) {
              char all[301];
              s.read_exactly(std::span(all));
              return std::string(all, sizeof(all));
            }
            return s.read_until("\n");
          }))
        line = *got;
    }
    EXPECT_EQ(line, sent);
    writer.get();
  });
}

TEST(Memory, TimeoutsGoByVirtualTime) {
  simulate([] {
    auto [one, other] = memory_pair();
    other.read_timeout(1h);
    char c[1];
    EXPECT_EQ(testing::time_of([&, &s = other] { EXPECT_THROW(s.read_some(std::span(c)), timed_out); }), 1h);
  });
}

TEST(Memory, ALineThatDribblesInIsTimedAsAWhole) {
  simulate([] {
    auto [one, other] = memory_pair();
    auto slow = spawn([&s = one] {
      for (;;) {
        s.write_all(".");
        sleep_for(1s);
      }
    });
    other.read_timeout(1min);
    EXPECT_EQ(testing::time_of([&s = other] { EXPECT_THROW(s.read_until("\n"), timed_out); }), 1min);
    slow.cancel();
    slow.wait();
  });
}

TEST(Memory, AReaderThatNobodyFeedsIsADeadlock) {
  EXPECT_THROW(sim::run(1,
                        [] {
                          auto pair = memory_pair();
                          char c[1];
                          pair.first.read_some(std::span(c));
                        }),
               sim::deadlock);
}

TEST(Memory, APairNeedsRoom) {
  sim::run(1, [] { EXPECT_THROW(memory_pair(0), std::invalid_argument); });
}

TEST(MemoryListener, ConnectsWaitToBeAccepted) {
  simulate([] {
    auto [l, connector] = memory_listen(10);
    auto clients = spawn(on_loop(1), [c = connector] {
      for (int i = 0; i < 5; ++i) {
        stream s = c.connect();
        s.write_all("hello " + std::to_string(i) + "\n");
        s.shutdown_write();
        EXPECT_EQ(read_all(s), "bye");
      }
    });
    for (int i = 0; i < 5; ++i) {
      stream s = l.accept();
      EXPECT_EQ(s.read_until("\n"), "hello " + std::to_string(i) + "\n");
      s.write_all("bye");
    }
    clients.get();
  });
}

TEST(MemoryListener, ClosedOrFullItRefuses) {
  simulate([] {
    auto [l, connector] = memory_listen(1);
    std::vector<stream> waiting;
    for (int i = 0; i < 1024; ++i) waiting.push_back(connector.connect());
    EXPECT_THROW(connector.connect(), error);
    stream first = l.accept();
    waiting.push_back(connector.connect());
    l.close();
    EXPECT_THROW(connector.connect(), error);
    EXPECT_THROW(l.accept(), stream_closed);
    EXPECT_EQ(read_all(waiting.back()), "");
  });
}

TEST(MemoryListener, CancellingAcceptLosesNobody) {
  simulate([] {
    auto [l, connector] = memory_listen();
    auto client = spawn(on_loop(1), [c = connector] {
      sleep_for(std::chrono::nanoseconds(sim::draw(100)));
      stream s = c.connect();
      EXPECT_EQ(read_all(s), "hi");
    });
    std::optional<stream> s;
    while (!s) s = move_on_after(std::chrono::nanoseconds(sim::draw(30)), [&, &source = l] { return source.accept(); });
    s->write_all("hi");
    s->close();
    client.get();
  });
}

}  // namespace
}  // namespace weft::io::memory_test
