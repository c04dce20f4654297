// How long, and for how many bytes, a closed socket goes on in the background to get rid of its last words.

#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io_test.hpp"
#include "socket.hpp"
#include "stream_access.hpp"
#include "weft/inspect.hpp"

namespace weft::io::socket_end_test {
namespace {

using namespace std::chrono_literals;
using detail::ending_limits;
using testing::open_descriptors;
using testing::pattern;
using testing::read_all;
using testing::run_others_until;

constexpr ending_limits no_limits = {.longest = 1h, .most_ignored = std::size_t(-1), .most_at_once = 1000};

/// More than the system has room for.
const std::string long_speech = pattern(1'000'000);

using pair_maker = std::pair<stream, stream> (*)();

std::pair<stream, stream> tcp_pair() {
  auto pair = testing::tcp_pair();
  for (stream* s : {&pair.first, &pair.second})
    EXPECT_TRUE(detail::set_option(s->native_handle(), SOL_SOCKET, SO_SNDBUF, 64 * 1024));
  return pair;
}

constexpr std::array<pair_maker, 2> kinds = {&local_pair, &tcp_pair};

std::unique_ptr<transport> transport_of(stream s) { return detail::stream_access::release(s); }

/// What carries TLS is closed so.
void close_after(stream s, std::string_view last) {
  transport_of(std::move(s))->close_after(std::as_bytes(std::span(last)));
}

std::size_t tasks_that_end_one() {
  const auto all = inspect();
  return static_cast<std::size_t>(
      std::ranges::count_if(all, [](const task_state& t) { return t.task.name == "io: end of a stream"; }));
}

class SocketEnd : public testing::WithSockets {
 protected:
  /// No descriptor is left, and no task, either.
  template <class F>
  void run(const ending_limits& limits, F body) {
    detail::endings = limits;
    WithSockets::run([&] {
      body();
      run_others_until([] { return tasks_that_end_one() == 0; });
    });
  }

  /// What comes from there until the end, and nothing but the end is right.
  std::string all_of(unique_fd peer) {
    std::string got;
    OnLoops::run([&] {
      timeout(20s, [&] {
        stream s(std::make_unique<detail::socket_transport>(std::move(peer), "the other side"));
        got = read_all(s);
      });
    });
    return got;
  }

  void TearDown() override { detail::endings = {}; }
};
WEFT_ON_LOOPS(SocketEnd);

/// Of a long speech, not all.
void expect_a_beginning(const std::string& got) {
  EXPECT_LT(got.size(), long_speech.size());
  EXPECT_TRUE(long_speech.starts_with(got));
}

TEST_P(SocketEnd, SaysAllThatWasLeftAndWaitsForTheOtherSideToEnd) {
  run(no_limits, [] {
    for (const auto make : kinds) {
      auto [one, other] = make();
      close_after(std::move(one), long_speech);
      other.write_all("nobody listens");
      EXPECT_EQ(read_all(other), long_speech);
      other.write_all("nor now");
      EXPECT_EQ(tasks_that_end_one(), 1U);
      other.close();
      run_others_until([] { return tasks_that_end_one() == 0; });
    }
  });
}

TEST_P(SocketEnd, OneWhoTakesNothingIsWaitedForOnlySoLong) {
  auto limits = no_limits;
  limits.longest = 10ms;
  run(limits, [] {
    for (const auto make : kinds) {
      auto [one, other] = make();
      const std::size_t before = open_descriptors();
      close_after(std::move(one), long_speech);
      run_others_until([&] { return open_descriptors() == before - 1; });
      expect_a_beginning(read_all(other));
    }
  });
}

TEST_P(SocketEnd, OneWhoGoesOnAndOnIsWaitedForOnlySoLong) {
  auto limits = no_limits;
  limits.longest = 10ms;
  run(limits, [] {
    for (const auto make : kinds) {
      auto [one, other] = make();
      close_after(std::move(one), "bye");
      EXPECT_EQ(read_all(other), "bye");
      const auto go_on = [&s = other] {
        for (;;) {
          s.write_all("x");
          sleep_for(1ms);
        }
      };
      EXPECT_THROW(go_on(), error);
    }
  });
}

TEST_P(SocketEnd, SoManyBytesAreIgnoredAndNotOneMore) {
  auto limits = no_limits;
  limits.most_ignored = 10'000;
  run(limits, [] {
    auto [one, other] = local_pair();
    const std::size_t before = open_descriptors();
    close_after(std::move(one), "bye");
    EXPECT_EQ(read_all(other), "bye");
    const auto write_and_have_it_read = [&s = other](std::string_view what) {
      s.write_all(what);
      run_others_until([&] {
        int unread = -1;
        return ::ioctl(s.native_handle(), TIOCOUTQ, &unread) == 0 && unread == 0;
      });
    };
    write_and_have_it_read(pattern(5'000));
    write_and_have_it_read(pattern(4'999));
    other.write_all("x");
    run_others_until([&] { return open_descriptors() == before - 1; });
    EXPECT_THROW(other.write_all("x"), error);
  });
}

TEST_P(SocketEnd, OneWhoSendsMuchLearnsThatNobodyReads) {
  auto limits = no_limits;
  limits.most_ignored = ending_limits().most_ignored;
  run(limits, [] {
    for (const auto make : kinds) {
      auto [one, other] = make();
      close_after(std::move(one), "bye");
      EXPECT_EQ(read_all(other), "bye");
      EXPECT_THROW(other.write_all(long_speech), error);
    }
  });
}

TEST_P(SocketEnd, BeyondSoManyAtOnceTheyAreCutUntilOneIsOver) {
  auto limits = no_limits;
  limits.most_at_once = 3;
  run(limits, [] {
    for (const auto make : kinds) {
      std::vector<stream> others;
      const auto close_one = [&] {
        auto [one, other] = make();
        close_after(std::move(one), long_speech);
        others.push_back(std::move(other));
      };
      const auto take_last = [&] {
        const stream last = std::move(others.back());
        others.pop_back();
      };
      for (int i = 0; i < 4; ++i) close_one();
      expect_a_beginning(read_all(others.back()));
      take_last();
      for (stream& s : others) EXPECT_EQ(read_all(s), long_speech);
      EXPECT_EQ(tasks_that_end_one(), 3U);
      take_last();
      run_others_until([] { return tasks_that_end_one() == 2; });
      close_one();
      EXPECT_EQ(read_all(others.back()), long_speech);
      others.clear();
      run_others_until([] { return tasks_that_end_one() == 0; });
    }
  });
}

TEST_P(SocketEnd, OneWhoResetsEndsIt) {
  run(no_limits, [] {
    for (const std::string_view last : {std::string_view(long_speech), std::string_view("bye")}) {
      auto [one, other] = tcp_pair();
      close_after(std::move(one), last);
      run_others_until([] { return tasks_that_end_one() == 1; });
      testing::break_connection(other);
      run_others_until([] { return tasks_that_end_one() == 0; });
    }
  });
}

// --- the end of the runtime ---

/// Closes it when it is destroyed.
struct owner {
  std::unique_ptr<transport> mine;

  explicit owner(stream s) : mine(transport_of(std::move(s))) {}
  owner(owner&&) = default;
  owner& operator=(owner&&) = delete;
  ~owner() {
    if (mine) mine->close_after(std::as_bytes(std::span(long_speech)));
  }
};

struct way_to_end {
  const char* name;
  void (*leave)(stream);  // as the last thing that a program does
};

const way_to_end ways[] = {
    {"before it begins", [](stream s) { close_after(std::move(s), long_speech); }},
    {"while it writes",
     [](stream s) {
       close_after(std::move(s), long_speech);
       run_others_until([] { return tasks_that_end_one() == 1; });
     }},
    {"while it waits for their end",
     [](stream s) {
       close_after(std::move(s), "");
       run_others_until([] { return tasks_that_end_one() == 1; });
     }},
    {"closed off the loops, where its loop is to be found first",
     [](stream s) {
       EXPECT_FALSE(move_on_after(1ms, [&] { s.fill(); }));  // from now on it has a loop
       spawn_blocking([of = owner(std::move(s))] {}).get();
     }},
    {"closed on another loop",
     [](stream s) {
       EXPECT_FALSE(move_on_after(1ms, [&] { s.fill(); }));
       spawn(on_loop(loop_count() - 1), [of = owner(std::move(s))] {}).get();
     }},
    {"closed by a task that the end cuts",
     [](stream s) {
       (void)spawn(detached, [of = owner(std::move(s))] { sleep_for(1h); });
       yield();
     }},
    {"closed by a task that never began",
     [](stream s) { (void)spawn(detached, [of = owner(std::move(s))] { sleep_for(1h); }); }},
};

TEST_P(SocketEnd, TheEndOfTheRuntimeCutsIt) {
  auto limits = no_limits;
  limits.most_at_once = 1;  // so whoever does not give it back is found by the next
  detail::endings = limits;
  weft::run([] {}, settings());
  const std::size_t before = open_descriptors();
  for (const auto& [name, leave] : ways)
    for (const auto make : kinds) {
      SCOPED_TRACE(name);
      unique_fd peer;
      OnLoops::run([&] {
        auto [one, other] = make();
        peer = transport_of(std::move(other))->detach();
        leave(std::move(one));
      });
      EXPECT_EQ(open_descriptors(), before + 1);
      expect_a_beginning(all_of(std::move(peer)));
      EXPECT_EQ(open_descriptors(), before);
    }
  // What outlives the runtime is closed at once.
  for (const auto make : kinds) {
    unique_fd peer;
    std::unique_ptr<transport> left;
    OnLoops::run([&] {
      auto [one, other] = make();
      peer = transport_of(std::move(other))->detach();
      left = transport_of(std::move(one));
    });
    left->close_after(std::as_bytes(std::span(long_speech)));
    EXPECT_EQ(open_descriptors(), before + 1);
    expect_a_beginning(all_of(std::move(peer)));
  }
  OnLoops::run([&] {
    auto [one, other] = local_pair();
    close_after(std::move(one), long_speech);
    EXPECT_EQ(read_all(other), long_speech);
  });
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace weft::io::socket_end_test
