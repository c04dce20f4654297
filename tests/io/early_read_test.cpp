// What a batch of events brings is read for the fibers that wait for it, before the first of them runs.

#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <array>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io_test.hpp"
#include "weft/cancel.hpp"
#include "weft/gather.hpp"
#include "weft/io/error.hpp"

namespace weft::io::early_read_test {
namespace {

using namespace std::chrono_literals;
using testing::pattern;
using testing::run_others_until;
using testing::tcp_pair;

class EarlyReads : public testing::WithSockets {};
WEFT_ON_LOOPS(EarlyReads);

int unread(stream& s) {
  int n = 0;
  EXPECT_EQ(::ioctl(s.native_handle(), FIONREAD, &n), 0);
  return n;
}

/// Lets fibers that have just been started come to where they wait.
void let_them_wait() {
  for (int i = 0; i < 3; ++i) yield();
}

/// Two connections, each waited for once before, so the loop watches them. What is written to both comes in one batch.
struct two {
  std::array<std::pair<stream, stream>, 2> pairs{tcp_pair(), tcp_pair()};

  two() {
    for (auto& [far, near] : pairs) {
      auto waiting = spawn([&s = near] { return s.read_until("\n"); });
      let_them_wait();
      far.write_all("\n");
      EXPECT_EQ(waiting.get(), "\n");
    }
  }

  stream& far(std::size_t i) { return pairs[i].first; }
  stream& near(std::size_t i) { return pairs[i].second; }

  /// To the first, then to the second, with nobody running before both have it.
  void write(std::string_view text) {
    for (std::size_t i = 0; i < 2; ++i) far(i).write_all(text);
    const auto limit = clock::now() + 10s;
    while (unread(near(0)) == 0 || unread(near(1)) == 0) ASSERT_LT(clock::now(), limit);
  }
};

TEST_P(EarlyReads, ComeBeforeTheFirstFiberRuns) {
  run([] {
    two c;
    std::array<int, 2> left_for_the_other{};
    const auto read = [&](std::size_t i) {
      return spawn([&, i] {
        EXPECT_EQ(c.near(i).fill(), 5U);
        left_for_the_other[i] = unread(c.near(1 - i));
        EXPECT_EQ(c.near(i).buffered(), "hello");
      });
    };
    auto both = gather(read(0), read(1));
    let_them_wait();
    c.write("hello");
    both.get();
    EXPECT_EQ(left_for_the_other, (std::array<int, 2>{}));
    EXPECT_EQ(c.near(0).bytes_read() + c.near(1).bytes_read(), 12U);  // with the first lines
  });
}

TEST_P(EarlyReads, AreNotMadeOfMoreThanStaysInTheCaches) {
  run([] {
    two c;
    const std::string much = pattern(30'000);
    std::array<int, 2> left_for_the_other{};
    std::array<std::string, 2> got;
    const auto read = [&](std::size_t i) {
      return spawn([&, i] {
        (void)c.near(i).fill();
        left_for_the_other[i] = unread(c.near(1 - i));
        while (c.near(i).buffered().size() < much.size()) (void)c.near(i).fill();
        got[i] = c.near(i).buffered();
      });
    };
    auto both = gather(read(0), read(1));
    let_them_wait();
    c.write(much);
    both.get();
    EXPECT_GT(left_for_the_other[0] + left_for_the_other[1], 0) << "who ran first found the other's unread";
    EXPECT_EQ(got, (std::array<std::string, 2>{much, much}));
  });
}

// The canceller runs first, or second.
TEST_P(EarlyReads, AreHandedOverThoughTheFiberIsCancelledBeforeItRuns) {
  for (const bool first : {true, false})
    run([first] {
      two c;
      const std::size_t reader = first ? 1 : 0;
      bool was_cancelled = false;
      std::string got;
      auto reading = spawn([&] {
        stream& s = c.near(reader);
        try {
          for (;;) {
            const std::size_t n = s.fill();
            got += s.buffered();
            s.consume(n);
          }
        } catch (const cancelled&) {
          was_cancelled = true;
          throw;
        }
      });
      auto cancelling = spawn([&] {
        (void)c.near(1 - reader).fill();
        reading.cancel();
      });
      let_them_wait();
      c.write("hello");
      cancelling.get();
      EXPECT_THROW(reading.get(), cancelled);
      EXPECT_TRUE(was_cancelled);
      // The wait had been decided, so what came belongs to it. Nothing is left that nobody was told of.
      EXPECT_EQ(got, "hello");
      EXPECT_EQ(c.near(reader).buffered(), "");
      c.far(reader).write_all("again");
      EXPECT_EQ(c.near(reader).fill(), 5U);
      EXPECT_EQ(c.near(reader).buffered(), "again");
    });
}

TEST_P(EarlyReads, OfAStreamThatIsClosedBeforeTheFiberRunsAreThrownAway) {
  for (const bool first : {true, false})
    run([first] {
      two c;
      const std::size_t reader = first ? 1 : 0;
      std::size_t got = 0;
      auto reading = spawn([&] {
        for (;;) {
          const std::size_t n = c.near(reader).fill();
          got += n;
          c.near(reader).consume(n);
        }
      });
      auto closing = spawn([&] {
        (void)c.near(1 - reader).fill();
        c.near(reader).close();
      });
      let_them_wait();
      c.write("hello");
      closing.get();
      EXPECT_THROW(reading.get(), stream_closed);
      EXPECT_EQ(got, first ? 0U : 5U);
      EXPECT_EQ(c.near(reader).buffered(), "");
    });
}

TEST_P(EarlyReads, SeeTheEndThatComesWithTheBytes) {
  run([] {
    auto pair = tcp_pair();
    auto reading = spawn([&s = pair.second] {
      std::string all;
      while (const std::size_t n = s.fill()) {
        all += s.buffered();
        s.consume(n);
      }
      return all;
    });
    let_them_wait();
    pair.first.write_all("first, ");
    run_others_until([&] { return unread(pair.second) == 0; });
    pair.first.write_all("the last word");
    pair.first.shutdown_write();
    EXPECT_EQ(reading.get(), "first, the last word");
  });
}

TEST_P(EarlyReads, LeaveWhatFollowsAPartOfALineToItsFiber) {
  run([] {
    auto pair = tcp_pair();
    auto reading = spawn([&s = pair.second] { return s.read_until("\n"); });
    let_them_wait();
    std::string sent = pattern(3'000);
    for (char& c : sent)
      if (c == '\n') c = ' ';
    sent += '\n';
    for (std::size_t at = 0; at < sent.size(); at += 500) {
      pair.first.write_all(std::string_view(sent).substr(at, 500));
      run_others_until([&] { return unread(pair.second) == 0; });
    }
    EXPECT_EQ(reading.get(), sent);
  });
}

// Messages of all sizes, at once: none is lost, and none comes twice.
TEST_P(EarlyReads, LoseNothingWhereReadersAreCancelledAllTheTime) {
  run([] {
    constexpr std::size_t connections = 50;
    constexpr unsigned rounds = 20;
    constexpr std::array<std::size_t, 5> sizes{1, 100, 2'000, 17'000, 70'000};
    std::vector<std::pair<stream, stream>> all;
    for (std::size_t i = 0; i < connections; ++i) all.push_back(tcp_pair());
    with_group([&](task_group& g) {
      for (std::size_t i = 0; i < connections; ++i) {
        g.spawn([&, i] {
          for (unsigned r = 0; r < rounds; ++r) {
            all[i].first.write_all(pattern(sizes[(i + r) % sizes.size()]));
            yield();
          }
          all[i].first.shutdown_write();
        });
        g.spawn([&, i] {
          stream& s = all[i].second;
          std::minstd_rand draw(static_cast<unsigned>(i + 1));
          std::string expected;
          for (unsigned r = 0; r < rounds; ++r) expected += pattern(sizes[(i + r) % sizes.size()]);
          std::string got;
          for (bool ended = false; !ended;) {
            auto reading = spawn([&] {
              while (const std::size_t n = s.fill()) {
                got += s.buffered();
                s.consume(n);
              }
              ended = true;
            });
            for (auto turns = draw() % 8; turns > 0; --turns) yield();
            reading.cancel();
            try {
              reading.get();
            } catch (const cancelled&) {
            }
          }
          EXPECT_TRUE(got == expected) << got.size() << " bytes instead of " << expected.size();
        });
      }
    });
  });
}

}  // namespace
}  // namespace weft::io::early_read_test
