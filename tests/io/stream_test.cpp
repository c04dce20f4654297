// What every stream does, whatever carries it: the contract (weft/io/testing/streams.hpp), on sockets, pipes and
// memory. TLS is held to it in tls_test.cpp, the simulated network in sim_network_test.cpp.

#include "weft/io/stream.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "io_test.hpp"
#include "stream_access.hpp"
#include "weft/io/memory.hpp"
#include "weft/io/testing/streams.hpp"

namespace weft::io::stream_test {
namespace {

using namespace std::chrono_literals;
using testing::stream_kind;

// Two pipes make one stream.
class duplex final : public transport {
 public:
  duplex(stream reader, stream writer) noexcept
      : in_(detail::stream_access::release(reader)), out_(detail::stream_access::release(writer)) {}

  std::size_t read_some(std::span<std::byte> to, wait_limit limit) override { return in_->read_some(to, limit); }
  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) override {
    return out_->write_some(from, limit);
  }
  void shutdown_write(wait_limit limit) override { out_->shutdown_write(limit); }
  void close() noexcept override {
    in_->close();
    out_->close();
  }
  void leave_loop() override {
    in_->leave_loop();
    out_->leave_loop();
  }
  [[nodiscard]] std::string describe() const override { return in_->describe(); }

 private:
  const std::unique_ptr<transport> in_;
  const std::unique_ptr<transport> out_;
};

// Its peer always keeps up.
class tireless final : public transport {
 public:
  std::size_t read_some(std::span<std::byte> to, wait_limit) override { return to.size(); }
  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit) override {
    return from[0].size();
  }
  void shutdown_write(wait_limit) override {}
  void close() noexcept override {}
  void leave_loop() override {}
  [[nodiscard]] std::string describe() const override { return "a tireless peer"; }
};

std::pair<stream, stream> pair_of_pipes() {
  auto there = pipe();
  auto back = pipe();
  return {stream(std::make_unique<duplex>(std::move(back.reader), std::move(there.writer))),
          stream(std::make_unique<duplex>(std::move(there.reader), std::move(back.writer)))};
}

std::pair<stream, stream> pair_over_v6() {
  listener l = listen(endpoint::parse("[::1]:0"));
  stream client = connect(l.local());
  return {std::move(client), l.accept()};
}

stream_kind kind_of(const std::string& name) {
  if (name == "Tcp")
    return {.name = name, .pair = testing::tcp_pair, .break_off = testing::break_connection, .descriptor = true};
  if (name == "TcpV6")
    return {.name = name, .pair = pair_over_v6, .break_off = testing::break_connection, .descriptor = true};
  if (name == "Local") return {.name = name, .pair = local_pair, .descriptor = true};
  if (name == "Pipes") return {.name = name, .pair = pair_of_pipes};
  return {.name = name, .pair = [] { return memory_pair(4096); }, .simulated = true};
}

class Streams : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Streams, ::testing::Values("Tcp", "TcpV6", "Local", "Pipes", "Memory"),
                         [](const auto& p) { return std::string(p.param); });

TEST_P(Streams, KeepTheContract) {
  weft::run([] {});  // what is opened once and for all is open now
  const std::size_t before = testing::open_descriptors();
  EXPECT_NO_THROW(testing::check_stream(kind_of(GetParam()), {.seeds = testing::seeds() / 10}));
  EXPECT_EQ(testing::open_descriptors(), before);
}

TEST(Stream, InMemoryKeepsEveryByteWhereverItIsCancelled) {
  EXPECT_GT(testing::check_stream_cancellation({.name = "memory", .pair = [] { return memory_pair(8); }},
                                               {.live_allocations = &testing::live_allocations}),
            100U);
}

TEST_P(Streams, MayOutliveTheirRuntime) {
  const auto make = kind_of(GetParam()).pair;
  const std::size_t before = testing::open_descriptors();
  {
    stream kept;
    weft::run([&] {
      auto [one, other] = make();
      char c[1];
      EXPECT_FALSE(move_on_after(1ms, [&s = one, &c] { return s.read_some(std::span(c)); }));
      kept = std::move(one);
    });
    char c[1];
    EXPECT_THROW(kept.read_some(std::span(c)), wrong_loop);
    // Another runtime has loops with the same numbers; it is not theirs.
    weft::run([&] { EXPECT_THROW(kept.close(), wrong_loop); });
  }
  EXPECT_EQ(testing::open_descriptors(), before);
}

class Sockets : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Sockets, ::testing::Values("Tcp", "TcpV6", "Local"),
                         [](const auto& p) { return std::string(p.param); });

TEST_P(Sockets, AreDetachedAsDescriptorsThatWork) {
  weft::run([] {
    auto [one, other] = kind_of(GetParam()).pair();
    char c[1];
    EXPECT_FALSE(move_on_after(1ms, [&s = one, &c] { return s.read_some(std::span(c)); }));  // its loop knows it
    const detached_stream theirs = other.detach();
    EXPECT_EQ(::write(theirs.descriptor.get(), "by hand", 7), 7);
    char some[7];
    one.read_exactly(std::span(some));
    EXPECT_EQ(std::string_view(some, 7), "by hand");
    const detached_stream mine = one.detach();
    EXPECT_EQ(::write(mine.descriptor.get(), "y", 1), 1);
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

// The most operations of one fiber between two turns of another.
template <class Operation>
int most_between_turns(Operation operation) {
  return weft::run(
      [&] {
        int done = 0;
        int most = 0;
        bool ended = false;
        auto other = spawn([&] {
          int before = 0;
          while (!ended) {
            most = std::max(most, done - std::exchange(before, done));
            yield();
          }
        });
        yield();
        stream s(std::make_unique<tireless>());
        for (; done < 1000; ++done) operation(s);
        ended = true;
        other.get();
        return most;
      },
      {.loops = 1, .cpu_workers = 1, .stall_after = 0ns});
}

TEST(StreamTurns, OneWhosePeerKeepsUpLetsOthersRunAfterManyBytes) {
  const std::string much(256 * 1024, 'x');
  std::string room(256 * 1024, ' ');
  const auto to = std::as_writable_bytes(std::span(room));
  EXPECT_EQ(most_between_turns([&](stream& s) { s.write_all(much); }), 1);
  EXPECT_EQ(most_between_turns([&](stream& s) { s.write_all({much, "y"}); }), 1);
  EXPECT_EQ(most_between_turns([&](stream& s) { (void)s.write_some(std::as_bytes(std::span(much))); }), 1);
  EXPECT_EQ(most_between_turns([&](stream& s) { s.read_exactly(to); }), 1);
  EXPECT_EQ(most_between_turns([&](stream& s) { (void)s.read_some(to); }), 1);
  EXPECT_EQ(most_between_turns([&](stream& s) { s.write_all(std::string_view(much).substr(0, 64 * 1024)); }), 4);
}

// As TLS moves its records.
TEST(StreamTurns, BytesInPiecesCountToo) {
  const std::string record(16 * 1024, 'x');
  EXPECT_EQ(most_between_turns([&](stream& s) { s.write_all(record); }), 15);
}

TEST(StreamTurns, SmallMessagesCostNoMoreThanOtherCheckpoints) {
  EXPECT_EQ(most_between_turns([](stream& s) { s.write_all("a small message"); }), 128);
}

}  // namespace
}  // namespace weft::io::stream_test
