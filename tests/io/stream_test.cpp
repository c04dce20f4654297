// What every stream does, whatever carries it: over TCP, local sockets and in memory, on 1, 2 and 4 loops.

#include "weft/io/stream.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <tuple>
#include <vector>

#include "io_test.hpp"
#include "weft/gather.hpp"

namespace weft::io::stream_test {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::pattern;
using testing::read_all;
using testing::run_others_until;

enum class carrier { tcp, local, memory };

std::string name_of(carrier c) { return c == carrier::tcp ? "Tcp" : c == carrier::local ? "Local" : "Memory"; }

class Streams : public ::testing::TestWithParam<std::tuple<carrier, unsigned>> {
 protected:
  /// Runs body(one, other) on the two ends of a connection.
  template <class F>
  void with_pair(F body) {
    config c = settings();
    weft::run([] {}, c);
    const std::size_t before = testing::open_descriptors();
    weft::run(
        [&] {
          timeout(20s, [&] {
            auto [one, other] = pair();
            body(one, other);
          });
        },
        c);
    EXPECT_EQ(testing::open_descriptors(), before);
  }
  static std::pair<stream, stream> pair() {
    switch (std::get<0>(GetParam())) {
      case carrier::tcp:
        return testing::tcp_pair();
      case carrier::local:
        return local_pair();
      case carrier::memory:
        break;
    }
    return memory_pair(4096);
  }
  static config settings() {
    config c;
    c.loops = std::get<1>(GetParam());
    c.stall_after = 0ns;
    c.on_unhandled = [](const task_info& task, std::exception_ptr) {
      ADD_FAILURE() << "an error was not taken: " << to_string(task);
    };
    return c;
  }
};

INSTANTIATE_TEST_SUITE_P(All, Streams,
                         ::testing::Combine(::testing::Values(carrier::tcp, carrier::local, carrier::memory),
                                            ::testing::Values(1U, 2U, 4U)),
                         [](const auto& p) {
                           return name_of(std::get<0>(p.param)) + std::to_string(std::get<1>(p.param));
                         });

TEST_P(Streams, BytesComeOutAsTheyWentIn) {
  with_pair([](stream& one, stream& other) {
    const std::string sent = pattern(1'000'000);
    auto writer = spawn([&] {
      one.write_all(sent);
      one.shutdown_write();
    });
    EXPECT_EQ(read_all(other), sent);
    writer.get();
    EXPECT_EQ(one.bytes_written(), sent.size());
    EXPECT_EQ(other.bytes_read(), sent.size());
  });
}

TEST_P(Streams, OneFiberReadsWhileAnotherWrites) {
  with_pair([](stream& one, stream& other) {
    const std::string sent = pattern(300'000);
    auto echo = spawn([&] {
      char some[777];
      while (const std::size_t n = other.read_some(std::span(some))) other.write_all(std::string_view(some, n));
      other.shutdown_write();
    });
    auto writer = spawn([&] {
      one.write_all(sent);
      one.shutdown_write();
    });
    EXPECT_EQ(read_all(one), sent);
    writer.get();
    echo.get();
  });
}

TEST_P(Streams, PiecesAreGatheredInOrder) {
  with_pair([](stream& one, stream& other) {
    std::vector<std::string> texts;
    std::string all;
    for (std::size_t i = 0; i < 100; ++i) {
      texts.push_back(pattern(i * 37 % 1000));  // some are empty
      all += texts.back();
    }
    auto writer = spawn([&] {
      std::vector<std::span<const std::byte>> pieces;
      for (const auto& t : texts) pieces.push_back(std::as_bytes(std::span(t)));
      one.write_all(pieces);
      one.write_all({"head", "", "body"});
      one.write_all({"", ""});
      one.write_all({"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"});
      one.write_all(""s);
      one.shutdown_write();
    });
    EXPECT_EQ(read_all(other), all + "headbody12345678910");
    writer.get();
  });
}

TEST_P(Streams, ReadExactlyPutsShortReadsTogether) {
  with_pair([](stream& one, stream& other) {
    auto writer = spawn([&] {
      for (int i = 0; i < 10; ++i) {
        one.write_all("ab");
        sleep_for(1ms);
      }
    });
    char some[15];
    other.read_exactly(std::span(some));
    EXPECT_EQ(std::string_view(some, 15), "abababababababa");
    char rest[5];
    other.read_exactly(std::span(rest));
    EXPECT_EQ(std::string_view(rest, 5), "babab");
    writer.get();
  });
}

TEST_P(Streams, ReadUntilGivesLinesAndKeepsTheRest) {
  with_pair([](stream& one, stream& other) {
    one.write_all("first\r\nsecond\r\n\r\nrest");
    EXPECT_EQ(other.read_until("\r\n"), "first\r\n");
    EXPECT_EQ(other.read_until("\r\n"), "second\r\n");
    EXPECT_EQ(other.read_until("\r\n"), "\r\n");
    char rest[4];
    other.read_exactly(std::span(rest));
    EXPECT_EQ(std::string_view(rest, 4), "rest");
  });
}

TEST_P(Streams, ReadUntilFindsADelimiterThatComesInParts) {
  with_pair([](stream& one, stream& other) {
    auto writer = spawn([&] {
      for (const char c : "line--"s + "--END" + "next"s) {
        one.write_all(std::string_view(&c, 1));
        yield();
        sleep_for(200us);
      }
      one.shutdown_write();
    });
    EXPECT_EQ(other.read_until("--END"), "line----END");
    EXPECT_EQ(read_all(other), "next");
    writer.get();
  });
}

TEST_P(Streams, ALineBeyondTheLimitIsAnErrorAndStays) {
  with_pair([](stream& one, stream& other) {
    one.write_all(pattern(50) + "\n");
    try {
      other.read_until("\n", 50);
      ADD_FAILURE();
    } catch (const line_too_long& e) {
      EXPECT_EQ(e.limit(), 50U);
    }
    EXPECT_EQ(other.read_until("\n", 51), pattern(50) + "\n");
    EXPECT_THROW(other.read_until(""), std::invalid_argument);
  });
}

TEST_P(Streams, ParsersSeeWhatHasComeInPlace) {
  with_pair([](stream& one, stream& other) {
    one.write_all("abcdef");
    while (other.buffered().size() < 6) EXPECT_GT(other.fill(), 0U);
    EXPECT_EQ(other.buffered(), "abcdef");
    other.consume(2);
    EXPECT_EQ(other.buffered(), "cdef");
    EXPECT_THROW(other.fill(4), line_too_long);
    EXPECT_THROW(other.consume(5), std::out_of_range);
    char some[10];
    EXPECT_EQ(other.read_some(std::span(some)), 4U);
    EXPECT_EQ(other.buffered(), "");
    one.shutdown_write();
    EXPECT_EQ(other.fill(), 0U);
  });
}

TEST_P(Streams, TheBufferGrowsAndIsUsedAgain) {
  with_pair([](stream& one, stream& other) {
    auto writer = spawn([&] {
      for (std::size_t i = 0; i < 200; ++i) one.write_all({pattern(i * 97 % 6000), "\n"});
    });
    for (std::size_t i = 0; i < 200; ++i) EXPECT_EQ(other.read_until("\n"), pattern(i * 97 % 6000) + "\n");
    writer.get();
  });
}

TEST_P(Streams, TheEndIsZeroForeverAndTheOtherHalfGoesOn) {
  with_pair([](stream& one, stream& other) {
    one.write_all("last");
    one.shutdown_write();
    EXPECT_EQ(read_all(other), "last");
    char c[1];
    EXPECT_EQ(other.read_some(std::span(c)), 0U);
    EXPECT_EQ(other.read_some(std::span(c)), 0U);
    other.write_all("answer");
    other.shutdown_write();
    EXPECT_EQ(read_all(one), "answer");
  });
}

// Data and end may reach the reader's loop as one event; then no other follows.
TEST_P(Streams, AnEndThatComesWithTheDataIsSeen) {
  with_pair([](stream& one, stream& other) {
    char some[100];
    auto reader = spawn([&] {
      EXPECT_EQ(other.read_some(std::span(some)), 4U);
      EXPECT_EQ(other.read_some(std::span(some)), 0U);
    });
    yield();
    one.write_all("data");
    one.shutdown_write();
    reader.get();
  });
}

TEST_P(Streams, AnEndInTheMiddleKeepsWhatCame) {
  with_pair([](stream& one, stream& other) {
    one.write_all("half");
    one.shutdown_write();
    char some[10];
    try {
      other.read_exactly(std::span(some));
      ADD_FAILURE();
    } catch (const end_of_stream& e) {
      EXPECT_EQ(e.bytes(), 4U);
    }
    try {
      other.read_until("\n");
      ADD_FAILURE();
    } catch (const end_of_stream& e) {
      EXPECT_EQ(e.bytes(), 4U);
    }
    EXPECT_EQ(read_all(other), "half");
  });
}

TEST_P(Streams, ACancelledReadTakesNothing) {
  with_pair([](stream& one, stream& other) {
    char some[10];
    EXPECT_FALSE(move_on_after(1ms, [&] { return other.read_some(std::span(some)); }));
    one.write_all("half");
    EXPECT_FALSE(move_on_after(20ms, [&] { other.read_exactly(std::span(some)); }));
    EXPECT_FALSE(move_on_after(1ms, [&] { return other.read_until("!"); }));
    EXPECT_FALSE(move_on_after(1ms, [&] {
      for (;;) other.fill();
    }));
    one.write_all(" done!!");
    EXPECT_EQ(other.read_until("!"), "half done!");
    EXPECT_EQ(other.read_some(std::span(some)), 1U);
  });
}

TEST_P(Streams, ACancelledWriteTellsHowFarItGot) {
  with_pair([](stream& one, stream& other) {
    const std::string sent = pattern(20'000'000);
    EXPECT_FALSE(move_on_after(20ms, [&] { one.write_all(sent); }));
    const std::uint64_t written = one.bytes_written();
    EXPECT_GT(written, 0U);
    EXPECT_LT(written, sent.size());
    auto rest = spawn([&] {
      one.write_all(std::string_view(sent).substr(written));
      one.shutdown_write();
    });
    EXPECT_EQ(read_all(other), sent);
    rest.get();
  });
}

TEST_P(Streams, AnOperationInACancelledScopeDoesNothing) {
  with_pair([](stream& one, stream& other) {
    one.write_all("there");
    run_others_until([&] { return other.fill() > 0; });
    auto task = spawn([&] {
      try {
        sleep_for(1h);
      } catch (const cancelled&) {
      }
      char some[10];
      EXPECT_THROW(other.read_some(std::span(some)), cancelled);
      EXPECT_THROW(other.write_all("x"), cancelled);
    });
    yield();
    task.cancel();
    task.get();
    EXPECT_EQ(other.bytes_written(), 0U);
    EXPECT_EQ(other.buffered(), "there");
  });
}

TEST_P(Streams, AReadTimeoutThrowsAndTheStreamGoesOn) {
  with_pair([](stream& one, stream& other) {
    other.read_timeout(5ms);
    char some[10];
    EXPECT_THROW(other.read_some(std::span(some)), timed_out);
    one.write_all("half");
    EXPECT_THROW(other.read_exactly(std::span(some)), timed_out);
    EXPECT_THROW(other.read_until("\n"), timed_out);
    one.write_all("\n");
    EXPECT_EQ(other.read_until("\n"), "half\n");
    other.read_timeout(no_timeout);
    EXPECT_FALSE(move_on_after(20ms, [&] { return other.read_some(std::span(some)); }));
  });
}

TEST_P(Streams, TheFirstByteHasATimeoutOfItsOwn) {
  with_pair([](stream& one, stream& other) {
    other.read_timeout(5ms, no_timeout);
    char c[1];
    EXPECT_THROW(other.read_some(std::span(c)), timed_out);
    one.write_all("x");
    other.read_timeout(10s, 5ms);
    other.read_exactly(std::span(c));
    EXPECT_THROW(other.read_exactly(std::span(c)), timed_out);
  });
}

TEST_P(Streams, ALineThatDribblesInIsTimedAsAWhole) {
  with_pair([](stream& one, stream& other) {
    auto slow = spawn([&] {
      for (int i = 0; i < 1000; ++i) {
        one.write_all(".");
        sleep_for(1ms);
      }
    });
    other.read_timeout(30ms);
    const auto start = clock::now();
    EXPECT_THROW(other.read_until("\n"), timed_out);
    EXPECT_GE(clock::now() - start, 30ms);
    slow.cancel();
    slow.wait();
  });
}

TEST_P(Streams, AWriteThatNobodyReadsTimesOut) {
  with_pair([](stream& one, stream& other) {
    one.write_timeout(5ms);
    EXPECT_THROW(one.write_all(pattern(20'000'000)), timed_out);
    one.shutdown_write();
    EXPECT_EQ(read_all(other).size(), one.bytes_written());
  });
}

TEST_P(Streams, CloseEndsTheWaitsOfOtherFibers) {
  with_pair([](stream& one, stream& other) {
    auto reader = spawn([&] {
      char c[1];
      EXPECT_THROW(one.read_some(std::span(c)), stream_closed);
    });
    auto writer = spawn([&] { EXPECT_THROW(one.write_all(pattern(20'000'000)), stream_closed); });
    sleep_for(2ms);
    one.close();
    reader.get();
    writer.get();
    EXPECT_FALSE(one.is_open());
    one.close();
    char c[1];
    EXPECT_THROW(one.read_some(std::span(c)), stream_closed);
    EXPECT_THROW(one.read_exactly(std::span(c)), stream_closed);
    EXPECT_THROW(one.read_until("x"), stream_closed);
    EXPECT_THROW(one.write_all("x"), stream_closed);
    EXPECT_THROW(one.shutdown_write(), stream_closed);
    EXPECT_THROW(one.move_to(0), stream_closed);
    EXPECT_GT(read_all(other).size(), 0U);
  });
}

TEST_P(Streams, CloseInTheMiddleOfALineIsClosed) {
  with_pair([](stream& one, stream& other) {
    other.write_all("half");
    auto reader = spawn([&] {
      char some[10];
      EXPECT_THROW(one.read_exactly(std::span(some)), stream_closed);
    });
    sleep_for(2ms);
    one.close();
    reader.get();
  });
}

TEST_P(Streams, TwoReadersOrTwoWritersAreAnError) {
  with_pair([](stream& one, stream& other) {
    auto reader = spawn([&] {
      char c[1];
      one.read_exactly(std::span(c));
    });
    auto writer = spawn([&] { one.write_all(pattern(20'000'000)); });
    sleep_for(2ms);
    char c[1];
    EXPECT_THROW(one.read_some(std::span(c)), stream_busy);
    EXPECT_THROW(one.fill(), stream_busy);
    EXPECT_THROW(one.write_all("x"), stream_busy);
    EXPECT_THROW(one.shutdown_write(), stream_busy);
    EXPECT_THROW(one.move_to(0), stream_busy);
    other.write_all("x");
    reader.get();
    auto rest = spawn([&] { return read_all(other).size(); });
    writer.get();
    one.shutdown_write();
    EXPECT_EQ(rest.get(), 20'000'000U);
  });
}

TEST_P(Streams, WritingToOneWhoIsGoneIsAnErrorThatCountsItsBytes) {
  with_pair([](stream& one, stream& other) {
    other.close();
    try {
      for (;;) one.write_all(pattern(1'000'000));
    } catch (const error& e) {
      EXPECT_TRUE(e.code() == std::errc::broken_pipe || e.code() == std::errc::connection_reset) << e.what();
      EXPECT_EQ(e.operation(), "write to");
      EXPECT_EQ(e.peer(), one.describe());
    }
  });
}

TEST_P(Streams, MovesWithItsBufferAndTimeouts) {
  with_pair([](stream& one, stream& other) {
    one.write_all("abc");
    run_others_until([&] { return other.buffered().size() == 3 || other.fill() == 3; });
    stream third(std::move(other));
    EXPECT_FALSE(other.is_open());
    EXPECT_EQ(other.buffered(), "");
    char c[1];
    EXPECT_THROW(other.read_some(std::span(c)), stream_closed);
    EXPECT_EQ(third.buffered(), "abc");
    third.read_timeout(5ms);
    other = std::move(third);
    EXPECT_EQ(other.read_until("c"), "abc");
    EXPECT_THROW(other.read_some(std::span(c)), timed_out);
    other = stream();
    EXPECT_EQ(read_all(one), "");
  });
}

TEST_P(Streams, UseOnAnotherLoopThrowsWrongLoop) {
  with_pair([](stream& one, stream&) {
    const auto use = [&] {
      char c[1];
      EXPECT_THROW(one.read_some(std::span(c)), wrong_loop);
      EXPECT_THROW(one.read_exactly(std::span(c)), wrong_loop);
      EXPECT_THROW(one.read_until("x"), wrong_loop);
      EXPECT_THROW(one.fill(), wrong_loop);
      EXPECT_THROW(one.write_all("x"), wrong_loop);
      EXPECT_THROW(one.shutdown_write(), wrong_loop);
      EXPECT_THROW(one.close(), wrong_loop);
      EXPECT_THROW(one.move_to(0), wrong_loop);
    };
    if (loop_count() > 1) spawn(on_loop((this_loop() + 1) % loop_count()), use).get();
    spawn_cpu(use).get();
    spawn_blocking(use).get();
    EXPECT_TRUE(one.is_open());
  });
}

TEST_P(Streams, AnIdleOneMovesToAnotherLoop) {
  with_pair([](stream& one, stream& other) {
    char c[1];
    EXPECT_FALSE(move_on_after(1ms, [&] { return one.read_some(std::span(c)); }));  // its loop knows it
    EXPECT_THROW(one.move_to(loop_count()), std::out_of_range);
    const std::string sent = pattern(100'000);
    for (unsigned round = 0; round < 8; ++round) {
      const unsigned there = (this_loop() + round) % loop_count();
      one.move_to(there);
      auto echo = spawn(on_loop(there), [&, s = std::move(one), home = this_loop()]() mutable {
        std::string got(sent.size(), '\0');
        s.read_exactly(std::span(got));
        s.write_all(got);
        s.move_to(home);
        return std::move(s);
      });
      other.write_all(sent);
      std::string back(sent.size(), '\0');
      other.read_exactly(std::span(back));
      EXPECT_EQ(back, sent);
      one = std::move(echo).get();
    }
  });
}

TEST_P(Streams, MayBeDroppedAnywhere) {
  with_pair([](stream& one, stream& other) {
    char c[1];
    EXPECT_FALSE(move_on_after(1ms, [&] { return one.read_some(std::span(c)); }));  // its loop knows it
    spawn_blocking([s = std::move(one)] {}).get();
    EXPECT_EQ(read_all(other), "");
    if (loop_count() > 1) spawn(on_loop((this_loop() + 1) % loop_count()), [s = std::move(other)] {}).get();
  });
}

TEST_P(Streams, MayOutliveItsRuntime) {
  const std::size_t before = testing::open_descriptors();
  {
    stream kept;
    weft::run(
        [&] {
          auto [one, other] = pair();
          char c[1];
          EXPECT_FALSE(move_on_after(1ms, [&] { return one.read_some(std::span(c)); }));
          kept = std::move(one);
        },
        settings());
    char c[1];
    EXPECT_THROW(kept.read_some(std::span(c)), wrong_loop);
    // Another runtime has loops with the same numbers; it is not theirs.
    weft::run([&] { EXPECT_THROW(kept.close(), wrong_loop); }, settings());
  }
  EXPECT_EQ(testing::open_descriptors(), before);
}

TEST_P(Streams, LinesComeOneAfterAnotherWithoutTheirEnds) {
  with_pair([](stream& one, stream& other) {
    auto writer = spawn([&] {
      one.write_all("first\nsecond\r\n\n\r\nmid\rdle\nlast");
      one.shutdown_write();
    });
    std::vector<std::string> got;
    for (auto& line : other.lines()) got.push_back(std::move(line));
    EXPECT_EQ(got, (std::vector<std::string>{"first", "second", "", "", "mid\rdle", "last"}));
    for (auto& line : other.lines()) ADD_FAILURE() << line;
    writer.get();
  });
}

TEST_P(Streams, LinesGoOnAfterAnErrorOrACancellation) {
  with_pair([](stream& one, stream& other) {
    one.write_all("one\n" + pattern(20) + "\nhalf");
    std::vector<std::string> got;
    EXPECT_THROW(
        {
          for (auto& line : other.lines(10)) got.push_back(line);
        },
        line_too_long);
    EXPECT_FALSE(move_on_after(20ms, [&] {
      for (auto& line : other.lines()) got.push_back(line);
    }));
    one.write_all(" done\nx");
    one.shutdown_write();
    for (auto line : other.lines()) {
      got.push_back(line);
      if (line == "half done") break;
    }
    EXPECT_EQ(got, (std::vector<std::string>{"one", pattern(20), "half done"}));
    EXPECT_EQ(read_all(other), "x");
  });
}

TEST_P(Streams, AnErrorInTheMiddleOfManyPiecesCountsAllThatWasWritten) {
  with_pair([](stream& one, stream& other) {
    const std::string big = pattern(1'000'000);
    auto reader = spawn([&] {
      std::string some(500'000, '\0');
      other.read_exactly(std::span(some));
      other.close();
    });
    try {
      one.write_all({"1", "2", "3", "4", "5", "6", "7", "8", "9", big, big, big, big, big, big, big, big});
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.bytes(), one.bytes_written());
      EXPECT_GE(e.bytes(), 500'000U);
    }
    reader.get();
  });
}

TEST_P(Streams, DetachHandsOverTheDescriptorAndWhatWasBuffered) {
  with_pair([](stream& one, stream& other) {
    one.write_all("line\nrest");
    EXPECT_EQ(other.read_until("\n"), "line\n");
    while (other.buffered().size() < 4) other.fill();
    if (other.native_handle() < 0) {
      EXPECT_THROW((void)other.detach(), error);
      EXPECT_EQ(other.buffered(), "rest");
      return;
    }
    char c[1];
    EXPECT_FALSE(move_on_after(1ms, [&] { return one.read_some(std::span(c)); }));  // its loop knows it
    const detached_stream theirs = other.detach();
    EXPECT_EQ(theirs.buffered, "rest");
    EXPECT_FALSE(other.is_open());
    EXPECT_THROW((void)other.detach(), stream_closed);
    EXPECT_THROW(other.write_all("x"), stream_closed);
    EXPECT_EQ(::write(theirs.descriptor.get(), "by hand", 7), 7);
    char some[7];
    one.read_exactly(std::span(some));
    EXPECT_EQ(std::string_view(some, 7), "by hand");
    const detached_stream mine = one.detach();
    EXPECT_EQ(::write(mine.descriptor.get(), "y", 1), 1);
  });
}

TEST_P(Streams, DetachUnderAReaderIsAnError) {
  with_pair([](stream& one, stream& other) {
    auto reader = spawn([&] { return other.read_until("\n"); });
    yield();
    EXPECT_THROW((void)other.detach(), stream_busy);
    one.write_all("x\n");
    reader.get();
  });
}

TEST(Stream, DestroyedUnderAReaderEndsTheProgramWithAMessage) {
  EXPECT_DEATH(weft::run([] {
                 auto pair = std::make_unique<std::pair<stream, stream>>(memory_pair());
                 auto reader = spawn([&] {
                   char c[1];
                   pair->first.read_some(std::span(c));
                 });
                 yield();
                 pair.reset();
               }),
               "a stream was destroyed while a fiber waits in it");
}

TEST(Stream, TheClosedOneSaysSo) {
  weft::run([] {
    stream s;
    char c[1];
    EXPECT_THROW(s.read_some(std::span(c)), stream_closed);
    EXPECT_THROW(s.write_all("x"), stream_closed);
    EXPECT_FALSE(s.peer());
    EXPECT_EQ(s.native_handle(), -1);
    s.close();
  });
}

}  // namespace
}  // namespace weft::io::stream_test
