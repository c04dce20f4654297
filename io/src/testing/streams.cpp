#include "weft/io/testing/streams.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <random>
#include <source_location>
#include <span>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <vector>

#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/future.hpp"
#include "weft/loop.hpp"
#include "weft/runtime.hpp"
#include "weft/simulation.hpp"
#include "weft/spawn.hpp"
#include "weft/task_group.hpp"
#include "weft/this_fiber.hpp"
#include "weft/timeout.hpp"

namespace weft::testing {
namespace {

using namespace std::chrono_literals;
using io::stream;

// --- what the rules are made of ---

bool in_simulation() noexcept {
  try {
    (void)sim::seed();
    return true;
  } catch (const no_runtime&) {
    return false;
  }
}

// Draws for one rule: from the seed, and on real loops from the number of the run.
class dice {
 public:
  dice() : draw_(in_simulation() ? static_cast<unsigned>(sim::draw(1U << 30)) : ++runs) {}
  /// In [0, bound).
  std::size_t operator()(std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(draw_); }

 private:
  static inline thread_local unsigned runs = 0;
  std::minstd_rand draw_;
};

// What a stream carries, by the place in it: bytes that are lost, doubled or out of order do not fit. It comes again
// after a prime number of bytes, which no buffer has.
constexpr std::size_t period = 9973;

const std::string& letters() {
  static const std::string all = [] {
    std::minstd_rand draw;
    std::string t(period, '\0');
    for (char& c : t) c = static_cast<char>('a' + draw() % 26);
    while (t.size() < 8 * period) t += t;
    return t;
  }();
  return all;
}

/// At most `longest` bytes, from a place on.
std::string_view piece_of_text(std::uint64_t from, std::size_t longest) {
  return std::string_view(letters()).substr(from % period, std::min(longest, 7 * period));
}

std::string text(std::size_t n, std::uint64_t from = 0) {
  std::string t;
  while (t.size() < n) t += piece_of_text(from + t.size(), n - t.size());
  return t;
}

// Large enough to fill what is below several times over; simulated bytes cost more.
std::size_t much() { return in_simulation() ? 20'000 : 1'000'000; }

std::span<const std::byte> bytes_of(std::string_view t) { return std::as_bytes(std::span(t)); }

void send_text(stream& s, std::size_t n, std::uint64_t from = 0) {
  for (std::size_t sent = 0; sent < n;) {
    const std::string_view piece = piece_of_text(from + sent, n - sent);
    s.write_all(piece);
    sent += piece.size();
  }
}

// Sends until it is stopped or something is wrong.
void send_for_ever(stream& s) {
  for (;;) send_text(s, 64 * 1024, s.bytes_written());
}

/// Reads to the end; gives the number of bytes, which must fit from place `from` on.
std::uint64_t read_text(stream& s, std::uint64_t from = 0,
                        std::source_location site = std::source_location::current()) {
  std::array<char, 1531> some;
  std::uint64_t place = from;
  while (const std::size_t n = s.read_some(std::span(some))) {
    require(n <= some.size(), "read_some() gives no more than it was asked for", site);
    require(std::string_view(some.data(), n) == piece_of_text(place, n),
            "bytes come out as they went in: no loss, no doubling, in order", site);
    place += n;
  }
  return place - from;
}

std::string read_all(stream& s) {
  std::string all;
  std::array<char, 100> some;
  while (const std::size_t n = s.read_some(std::span(some))) all.append(some.data(), n);
  return all;
}

std::string read_exactly(stream& s, std::size_t n) {
  std::string t(n, '\0');
  s.read_exactly(std::span(t));
  return t;
}

/// f must throw E; cancelled passes.
template <class E, class F>
E must_throw(F f, const std::string& rule, std::source_location site = std::source_location::current()) {
  std::string instead = "nothing was thrown";
  try {
    f();
  } catch (const E& e) {
    return e;
  } catch (const contract_broken&) {
    throw;
  } catch (const std::exception& e) {
    instead = std::string("instead came: ") + e.what();
  }
  require(false, rule + "; " + instead, site);
  throw std::logic_error("unreachable");
}

template <class F>
void must_be_cancelled(F f, const std::string& rule, std::source_location site = std::source_location::current()) {
  try {
    f();
  } catch (const cancelled&) {
    return;
  }
  require(false, rule, site);
}

/// Gives others the time to come to a wait. Nothing depends on that they have.
void let_others_wait() { sleep_for(2ms); }

/// Until no more goes out.
void wait_until_full(const stream& s) {
  for (std::uint64_t before = ~std::uint64_t{0}; s.bytes_written() != before;) {
    before = s.bytes_written();
    sleep_for(5ms);
  }
}

bool is_gone(const std::error_code& code) {
  return code == std::errc::broken_pipe || code == std::errc::connection_reset;
}

void one_byte(stream& s) {
  char c = 0;
  (void)s.read_some(std::span(&c, 1));
}

// --- the rules ---
//
// Children of a group refer to the streams, which were made before it.

struct ends {
  stream one;
  stream other;
};

ends make(const stream_kind& k) {
  auto [one, other] = k.pair();
  return {std::move(one), std::move(other)};
}

void carries_bytes_both_ways_at_once(const stream_kind& k) {
  auto [a, b] = make(k);
  const std::size_t n = much();
  with_group([&, &one = a, &other = b](task_group& g) {
    g.spawn([&] {
      send_text(one, n);
      one.shutdown_write();
    });
    g.spawn([&] {
      send_text(other, n / 2);
      other.shutdown_write();
    });
    auto back = g.spawn([&] { return read_text(one); });
    require(read_text(other) == n, "all that was written is read, then the stream ends");
    require(back.get() == n / 2, "and the other way, at the same time");
  });
  require(a.bytes_written() == n && b.bytes_read() == n, "bytes_written() and bytes_read() count each byte once");
  require(b.bytes_written() == n / 2 && a.bytes_read() == n / 2, "they count each direction by itself");
}

void gathers_pieces_in_order(const stream_kind& k) {
  auto [a, b] = make(k);
  dice draw;
  std::vector<std::string> texts;
  std::string expected;
  for (std::size_t i = 0; i < 60; ++i) {
    texts.push_back(text(draw(3) == 0 ? 0 : draw(i < 50 ? 40 : 2000), expected.size()));
    expected += texts.back();
  }
  with_group([&, &one = a, &other = b](task_group& g) {
    g.spawn([&] {
      std::vector<std::span<const std::byte>> pieces;
      for (const auto& t : texts) pieces.push_back(bytes_of(t));
      one.write_all(pieces);
      one.write_all({"head", "", "body", "1", "2", "3", "4", "5", "6"});
      one.write_all({"", ""});
      one.write_all(std::string_view());
      const std::array<std::span<const std::byte>, 3> some = {bytes_of(""), bytes_of("tail"), bytes_of("")};
      for (std::size_t written = 0; written < 4;) {
        const std::array<std::span<const std::byte>, 3> rest = {some[0], some[1].subspan(written), some[2]};
        const std::size_t n = one.write_some(rest);
        require(n > 0 && n <= 4 - written, "write_some() gives how much it took of what there was");
        written += n;
      }
      require(one.write_some(std::span<const std::byte>()) == 0, "write_some() of nothing writes nothing");
      one.shutdown_write();
    });
    require(read_all(other) == expected + "headbody123456tail", "pieces are written in order, empty ones, too");
  });
  require(a.bytes_written() == expected.size() + 18, "bytes_written() counts all pieces");
}

void holds_its_writer_back(const stream_kind& k) {
  auto [a, b] = make(k);
  std::uint64_t total = 0;
  with_group([&, &one = a, &other = b](task_group& g) {
    auto writer = g.spawn([&] {
      while (one.bytes_written() < k.most_under_way) send_text(one, 64 * 1024, one.bytes_written());
      require(false, "a writer that nobody reads from waits");
    });
    wait_until_full(one);
    writer.cancel();
    writer.wait();
    total = one.bytes_written();
    auto end = g.spawn([&] { one.shutdown_write(); });
    // A slow reader gets all of it.
    std::string first;
    for (int i = 0; i < 20 && first.size() < total; ++i) {
      std::array<char, 7> few;
      first.append(few.data(), other.read_some(std::span(few)));
      yield();
    }
    require(first == text(first.size()), "a slow reader gets the bytes in order");
    require(read_text(other, first.size()) + first.size() == total, "what a stopped writer has written comes, no more");
    end.get();
  });
  require(b.bytes_read() == total, "bytes_written() on one side is bytes_read() on the other");
}

void reads_exactly_over_any_split(const stream_kind& k) {
  auto [a, b] = make(k);
  dice draw;
  constexpr std::size_t n = 3000;
  with_group([&, &one = a, &other = b](task_group& g) {
    g.spawn([&one] {
      dice cut;
      for (std::size_t sent = 0; sent < n;) {
        const std::size_t part = std::min(1 + cut(400), n - sent);
        one.write_all(text(part, sent));
        sent += part;
        if (cut(3) == 0) yield();
        if (cut(5) == 0) sleep_for(50us);
      }
    });
    for (std::size_t got = 0; got < n;) {
      const std::size_t part = std::min(draw(500), n - got);
      require(read_exactly(other, part) == text(part, got), "read_exactly() puts short reads together");
      got += part;
    }
  });
  require(b.buffered().empty(), "read_exactly() takes no more than it was asked for");
}

void finds_delimiters_over_any_split(const stream_kind& k) {
  auto [a, b] = make(k);
  // A delimiter that begins with what it ends with, and beginnings of it all over.
  const std::string delimiter = "-=-END-=-";
  std::string sent;
  std::vector<std::string> expected;
  dice draw;
  for (int i = 0; i < 12; ++i) {
    std::string piece = text(draw(60));
    for (std::size_t tail = draw(4); tail > 0; --tail)
      piece += delimiter.substr(0, 1 + draw(delimiter.size() - 1)) + "x";
    expected.push_back(piece + delimiter);
    sent += expected.back();
  }
  with_group([&, &one = a, &other = b](task_group& g) {
    g.spawn([&] {
      dice cut;
      for (std::string_view rest = sent; !rest.empty();) {
        const std::size_t part = std::min(1 + cut(12), rest.size());
        one.write_all(rest.substr(0, part));
        rest.remove_prefix(part);
        if (cut(3) == 0) yield();
        if (cut(20) == 0) sleep_for(50us);
      }
      one.write_all("rest");
      one.shutdown_write();
    });
    for (const auto& line : expected)
      require(other.read_until(delimiter) == line, "read_until() finds a delimiter however it is cut");
    require(read_all(other) == "rest", "what follows a delimiter stays in the stream");
  });
}

void gives_lines_over_any_split(const stream_kind& k) {
  auto [a, b] = make(k);
  const std::string sent = "first\nsecond\r\n\n\r\nmid\rdle\nlast";
  const std::vector<std::string> expected = {"first", "second", "", "", "mid\rdle", "last"};
  with_group([&, &one = a, &other = b](task_group& g) {
    g.spawn([&] {
      dice cut;
      for (std::string_view rest = sent; !rest.empty();) {
        const std::size_t part = std::min(1 + cut(6), rest.size());
        one.write_all(rest.substr(0, part));
        rest.remove_prefix(part);
        if (cut(2) == 0) yield();
      }
      one.shutdown_write();
    });
    std::vector<std::string> got;
    for (auto& line : other.lines()) got.push_back(std::move(line));
    require(got == expected, "lines() gives lines without their ends, and an unended last one");
    for (auto& line : other.lines()) require(false, "after the end come no lines, but " + line);
  });
}

void lines_go_on_after_what_stopped_them(const stream_kind& k) {
  auto [one, other] = make(k);
  one.write_all("one\n" + text(20) + "\nhalf");
  std::vector<std::string> got;
  must_throw<io::line_too_long>(
      [&] {
        for (auto& line : other.lines(10)) got.push_back(line);
      },
      "a line beyond the limit is line_too_long");
  for (int i = 0; i < 3 && got.size() < 2; ++i)
    (void)move_on_after(20ms, [&] {
      for (auto& line : other.lines()) got.push_back(line);
    });
  one.write_all(" done\nx");
  one.shutdown_write();
  for (auto& line : other.lines()) {
    got.push_back(line);
    if (line == "half done") break;
  }
  require(got == std::vector<std::string>{"one", text(20), "half done"}, "a line that was not given is the next one");
  require(read_all(other) == "x", "what follows a line stays in the stream");
}

void refuses_long_lines_and_keeps_them(const stream_kind& k) {
  auto [one, other] = make(k);
  one.write_all(text(50) + "\n");
  const auto e = must_throw<io::line_too_long>([&] { (void)other.read_until("\n", 50); },
                                               "read_until() refuses a line beyond its limit");
  require(e.limit() == 50, "line_too_long names the limit");
  require(other.read_until("\n", 51) == text(50) + "\n", "the line stays, and a larger limit lets it pass");
  must_throw<std::invalid_argument>([&] { (void)other.read_until(""); }, "an empty delimiter is refused");
}

void shows_parsers_what_has_come(const stream_kind& k) {
  auto [one, other] = make(k);
  one.write_all("abcdef");
  while (other.buffered().size() < 6) require(other.fill() > 0, "fill() receives more");
  require(other.buffered() == "abcdef", "buffered() shows what was received");
  other.consume(2);
  require(other.buffered() == "cdef", "consume() takes from the front");
  must_throw<io::line_too_long>([&] { (void)other.fill(4); }, "fill() refuses beyond its limit");
  must_throw<std::out_of_range>([&] { other.consume(5); }, "consume() takes no more than there is");
  require(read_exactly(other, 4) == "cdef", "reading gives what is buffered first");
  one.shutdown_write();
  require(other.fill() == 0 && other.buffered().empty(), "fill() gives 0 at the end");
}

void does_nothing_with_nothing(const stream_kind& k) {
  auto [one, other] = make(k);
  require(other.read_some(std::span<char>()) == 0, "read_some() of nothing gives 0 and waits for nothing");
  other.read_exactly(std::span<char>());
  one.write_all(std::string_view());
  require(one.bytes_written() == 0 && other.bytes_read() == 0, "nothing moves no bytes");
  require(one.is_open() && other.is_open() && !one.describe().empty(), "a new stream is open and has a name");
}

void ends_each_half_by_itself(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    auto reader = g.spawn([&] { return read_all(other); });
    one.write_all("last");
    one.shutdown_write();
    require(reader.get() == "last", "after shutdown_write() the other side reads what came, then the end");
    std::array<char, 1> c;
    for (int i = 0; i < 3; ++i) require(other.read_some(std::span(c)) == 0, "the end stays the end");
    const auto e = must_throw<io::error>(
        [&] {
          for (int i = 0; i < 3; ++i) one.write_all("more");
        },
        "writing after shutdown_write() is an error");
    require(one.bytes_written() == 4, "and writes nothing");
    require(e.operation() == "write to", "the error names the operation");
    auto answer = g.spawn([&] { return read_all(one); });
    let_others_wait();
    other.write_all("the answer");
    other.shutdown_write();
    require(answer.get() == "the answer", "the other half goes on");
  });
}

void gives_the_end_that_comes_with_data(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    auto reader = g.spawn([&] { return read_all(other); });
    yield();
    one.write_all("data");
    one.shutdown_write();
    require(reader.get() == "data", "an end that comes with the data is seen after it");
  });
}

void an_end_in_the_middle_keeps_what_came(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    g.spawn([&] {
      one.write_all("half");
      one.shutdown_write();
    });
    std::array<char, 10> some;
    const auto e = must_throw<io::end_of_stream>([&] { other.read_exactly(std::span(some)); },
                                                 "an end before all has come is end_of_stream");
    require(e.bytes() == 4, "end_of_stream tells how much had come");
    const auto u = must_throw<io::end_of_stream>([&] { (void)other.read_until("\n"); },
                                                 "an end before the delimiter is end_of_stream");
    require(u.bytes() == 4, "and tells how much had come");
    require(read_all(other) == "half", "what had come stays in the stream");
  });
}

void delivers_what_was_written_before_close(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    g.spawn([&] {
      send_text(one, much());
      one.close();
    });
    require(read_text(other) == much(), "what was written before close() is delivered, then the stream ends");
  });
}

// By close(), or by a stream that is dropped.
void let_go(stream& s) {
  if (dice()(2) == 0)
    s.close();
  else
    s = stream();
}

void delivers_though_not_all_that_came_was_read(const stream_kind& k) {
  for (const bool some_was_buffered : {false, true}) {
    auto [a, b] = make(k);
    with_group([&, &one = a, &other = b](task_group& g) {
      other.write_all(text(200));
      if (some_was_buffered)
        while (one.buffered().empty()) (void)one.fill();
      // What comes after close() cannot be helped.
      sleep_for(in_simulation() ? std::chrono::nanoseconds(10s) : 20ms);
      g.spawn([&] {
        send_text(one, much());
        let_go(one);
      });
      require(read_text(other) == much(), "close() delivers what was written, though not all that had come was read");
      one_byte(other);  // the end comes any number of times
    });
  }
}

void delivers_out_of_a_full_way(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    auto writer = g.spawn([&] { send_for_ever(one); });
    wait_until_full(one);
    writer.cancel();
    writer.wait();
    const std::uint64_t written = one.bytes_written();
    let_go(one);
    require(!one.is_open(), "close() does not wait for a reader");
    require(read_text(other) == written, "close() delivers what was written, though the way was full");
  });
}

void finishes_with_one_who_goes_on_sending(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    g.spawn([&] {
      send_text(one, much());
      require(one.finish(1h), "finish() is told of the other side's end");
      require(!one.is_open(), "finish() closes");
      must_throw<io::stream_closed>([&] { (void)one.finish(); }, "what is closed cannot be finished");
    });
    g.spawn([&] {
      send_text(other, much() / 2);
      sleep_for(1ms);
      send_text(other, much() / 2);
      other.shutdown_write();
    });
    require(read_text(other) == much(), "finish() delivers what was written, whatever else comes");
  });
  require(a.bytes_read() == b.bytes_written(), "and takes what the other side has sent");
}

void finishes_in_time(const stream_kind& k) {
  for (const bool cancelled : {false, true}) {
    auto [a, b] = make(k);
    with_group([&, &one = a, &other = b](task_group& g) {
      one.write_all("bye");
      if (cancelled) {
        auto finishing =
            g.spawn([&] { must_be_cancelled([&] { (void)one.finish(1h); }, "finish() can be cancelled"); });
        let_others_wait();
        finishing.cancel();
        finishing.get();
      } else {
        const auto start = clock::now();
        require(!one.finish(5ms), "finish() tells that the other side did not end");
        require(clock::now() - start >= 5ms, "it waits for as long as it may");
      }
      require(!one.is_open(), "finish() closes, whatever comes");
      require(read_all(other) == "bye", "what was written is delivered all the same");
    });
  }
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    auto reader = g.spawn([&] { require(read_exactly(one, 1) == "x", "the reader goes on"); });
    let_others_wait();
    must_throw<io::stream_busy>([&] { (void)one.finish(); }, "a stream in use cannot be finished");
    require(one.is_open(), "and stays open");
    other.write_all("x");
    reader.get();
  });
}

void cancelled_reads_take_nothing(const stream_kind& k) {
  auto [a, b] = make(k);
  dice draw;
  const std::string sent = text(900) + "\n";
  with_group([&, &one = a, &other = b](task_group& g) {
    auto writer = g.spawn([&] {
      dice cut;
      for (std::string_view rest = sent; !rest.empty();) {
        const std::size_t part = std::min(1 + cut(100), rest.size());
        one.write_all(rest.substr(0, part));
        rest.remove_prefix(part);
        sleep_for(std::chrono::microseconds(cut(200)));
      }
    });
    std::string line;
    for (int tries = 0; line.empty(); ++tries) {
      const auto patience = tries < 40 ? std::chrono::nanoseconds(draw(300'000)) : 10s;
      const auto way = draw(3);
      (void)move_on_after(patience, [&] {
        if (way == 0) line = read_exactly(other, sent.size());
        if (way == 1) line = other.read_until("\n");
        if (way == 2) (void)other.fill();
      });
    }
    require(line == sent, "a cancelled read leaves what had come, in its place");
    writer.get();
    one.write_all("!");
    require(read_exactly(other, 1) == "!" && other.buffered().empty(), "and takes nothing of what comes later");
  });
}

void cancelled_writes_tell_how_far_they_came(const stream_kind& k) {
  auto [a, b] = make(k);
  const std::size_t n = 3 * much();
  with_group([&, &one = a, &other = b](task_group& g) {
    auto writer = g.spawn([&] {
      dice draw;
      for (int tries = 0; one.bytes_written() < n; ++tries) {
        const std::uint64_t done = one.bytes_written();
        (void)move_on_after(tries < 40 ? std::chrono::nanoseconds(draw(500'000)) : 10s, [&] {
          if (draw(2) == 0)
            send_text(one, static_cast<std::size_t>(n - done), done);
          else
            (void)one.write_some(bytes_of(text(1000, done)).first(std::min<std::size_t>(1000, n - done)));
        });
      }
      one.shutdown_write();
    });
    sleep_for(300us);
    require(read_text(other) == n, "bytes_written() tells what a cancelled write has written, to the byte");
    writer.get();
  });
}

void does_nothing_in_a_cancelled_scope(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    one.write_all("there");
    while (other.buffered().size() < 5) (void)other.fill();
    auto task = g.spawn([&] {
      try {
        sleep_for(1h);
      } catch (const cancelled&) {
      }
      must_be_cancelled([&] { one_byte(other); }, "in a cancelled scope read_some() throws, even if it need not wait");
      must_be_cancelled([&] { (void)other.read_until("e"); }, "so does read_until()");
      must_be_cancelled([&] { (void)read_exactly(other, 1); }, "so does read_exactly()");
      must_be_cancelled([&] { other.write_all("x"); }, "so does write_all()");
    });
    let_others_wait();
    task.cancel();
    task.get();
    require(other.bytes_written() == 0 && other.buffered() == "there", "and none of them has done anything");
  });
}

void reads_have_a_deadline(const stream_kind& k) {
  auto [one, other] = make(k);
  std::array<char, 10> some;
  other.read_timeout(5ms);
  const auto start = clock::now();
  must_throw<timed_out>([&] { (void)other.read_some(std::span(some)); }, "a read beyond read_timeout() is timed_out");
  require(clock::now() - start >= 5ms, "a read waits for as long as it may");
  one.write_all("half");
  must_throw<timed_out>([&] { other.read_exactly(std::span(some)); }, "so is read_exactly()");
  must_throw<timed_out>([&] { (void)other.read_until("\n"); }, "so is read_until()");
  must_throw<timed_out>(
      [&] {
        for (;;) (void)other.fill();
      },
      "so is fill()");
  one.write_all("\n");
  other.read_timeout(io::no_timeout);
  require(other.read_until("\n") == "half\n", "a read that timed out has taken nothing");
  require(!move_on_after(20ms, [&] { one_byte(other); }), "without read_timeout() a read waits for ever");
}

void the_first_byte_has_a_deadline_of_its_own(const stream_kind& k) {
  auto [one, other] = make(k);
  other.read_timeout(5ms, io::no_timeout);
  must_throw<timed_out>([&] { one_byte(other); }, "the first read_timeout() holds until the first byte");
  one.write_all("x");
  other.read_timeout(1h, 5ms);
  require(read_exactly(other, 1) == "x", "the first byte may take longer");
  must_throw<timed_out>([&] { one_byte(other); }, "from then on the later read_timeout() holds");
}

void a_line_is_timed_as_a_whole(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    auto slow = g.spawn([&] {
      for (;;) {
        one.write_all(".");
        sleep_for(2ms);
      }
    });
    other.read_timeout(30ms);
    const auto start = clock::now();
    must_throw<timed_out>([&] { (void)other.read_until("\n"); }, "a line that dribbles in is timed as a whole");
    require(clock::now() - start >= 30ms, "it may take as long as read_timeout()");
    slow.cancel();
  });
}

void writes_have_a_deadline(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    one.write_timeout(5ms);
    must_throw<timed_out>([&] { send_for_ever(one); }, "a write that nobody reads is timed_out");
    const auto start = clock::now();
    must_throw<timed_out>([&] { send_for_ever(one); }, "the next one, too");
    require(clock::now() - start >= 5ms, "a write waits for as long as it may");
    one.write_timeout(io::no_timeout);
    auto end = g.spawn([&] { one.shutdown_write(); });
    require(read_text(other) == one.bytes_written(), "what it has written, bytes_written() tells");
    end.get();
  });
}

void close_ends_the_waits_of_others(const stream_kind& k) {
  enum class wait : std::uint8_t { read_some, read_exactly, read_until, fill, lines };
  for (const wait how : {wait::read_some, wait::read_exactly, wait::read_until, wait::fill, wait::lines}) {
    auto [a, b] = make(k);
    with_group([&, &one = a, &other = b](task_group& g) {
      if (how != wait::read_some && how != wait::fill) other.write_all("half");
      g.spawn([&] {
        must_throw<io::stream_closed>(
            [&] {
              std::array<char, 10> some;
              switch (how) {
                case wait::read_some:
                  return (void)one.read_some(std::span(some));
                case wait::read_exactly:
                  return one.read_exactly(std::span(some));
                case wait::read_until:
                  return (void)one.read_until("\n");
                case wait::fill:
                  return (void)one.fill();
                case wait::lines:
                  for (auto& line : one.lines()) (void)line;
              }
            },
            "close() gives stream_closed to a fiber that waits in a read");
      });
      let_others_wait();
      one.close();
    });
  }
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    auto reader = g.spawn([&] {
      must_throw<io::stream_closed>([&] { one_byte(one); }, "close() ends a read while another fiber writes");
    });
    auto writer = g.spawn([&] {
      must_throw<io::stream_closed>([&] { send_for_ever(one); }, "close() gives stream_closed to one that writes");
    });
    wait_until_full(one);
    one.close();
    reader.get();
    writer.get();
    // The other side gets a beginning, then the end or an error; it does not wait for ever.
    try {
      (void)read_text(other);
    } catch (const io::error&) {
    }
  });
}

void a_closed_stream_says_so(const stream_kind& k) {
  auto [one, other] = make(k);
  other.write_all("unread");
  while (one.buffered().empty()) (void)one.fill();
  one.close();
  one.close();
  require(!one.is_open() && one.buffered().empty(), "a closed stream is not open and has nothing buffered");
  constexpr auto rule = "a closed stream answers with stream_closed";
  must_throw<io::stream_closed>([&] { one_byte(one); }, rule);
  must_throw<io::stream_closed>([&] { (void)read_exactly(one, 1); }, rule);
  must_throw<io::stream_closed>([&] { (void)one.read_until("x"); }, rule);
  must_throw<io::stream_closed>([&] { (void)one.fill(); }, rule);
  must_throw<io::stream_closed>(
      [&] {
        for (auto& line : one.lines()) (void)line;
      },
      rule);
  must_throw<io::stream_closed>([&] { one.write_all("x"); }, rule);
  must_throw<io::stream_closed>([&] { (void)one.write_some(bytes_of("x")); }, rule);
  must_throw<io::stream_closed>([&] { one.shutdown_write(); }, rule);
  must_throw<io::stream_closed>([&] { one.move_to(0); }, rule);
  must_throw<io::stream_closed>([&] { (void)one.detach(); }, rule);
  require(!one.describe().empty(), "a closed stream still has a name");
}

void has_one_reader_and_one_writer(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    auto reader = g.spawn([&] { require(read_exactly(one, 1) == "x", "the reader that was first goes on"); });
    auto writer = g.spawn([&] { send_for_ever(one); });
    wait_until_full(one);
    const std::uint64_t before = one.bytes_written();
    must_throw<io::stream_busy>([&] { one_byte(one); }, "a second reader gets stream_busy");
    must_throw<io::stream_busy>([&] { (void)one.fill(); }, "a second reader gets stream_busy");
    must_throw<io::stream_busy>([&] { (void)one.read_until("\n"); }, "a second reader gets stream_busy");
    must_throw<io::stream_busy>([&] { one.write_all("x"); }, "a second writer gets stream_busy");
    must_throw<io::stream_busy>([&] { one.shutdown_write(); }, "one cannot end what another writes");
    must_throw<io::stream_busy>([&] { one.move_to(0); }, "a stream in use does not move");
    must_throw<io::stream_busy>([&] { (void)one.detach(); }, "a stream in use is not detached");
    require(one.bytes_written() == before, "and none of them has done anything");
    other.write_all("x");
    reader.get();
    writer.cancel();
    writer.wait();
    auto end = g.spawn([&] { one.shutdown_write(); });
    require(read_text(other) == one.bytes_written(), "the writer that was first has written what it counts");
    end.get();
  });
}

void belongs_to_its_loop(const stream_kind& k) {
  auto [a, b] = make(k);
  stream& one = a;
  one.write_all("x");
  const auto use = [&] {
    constexpr auto rule = "a stream used off its loop throws wrong_loop";
    must_throw<wrong_loop>([&] { one_byte(one); }, rule);
    must_throw<wrong_loop>([&] { (void)read_exactly(one, 1); }, rule);
    must_throw<wrong_loop>([&] { (void)one.read_until("x"); }, rule);
    must_throw<wrong_loop>([&] { (void)one.fill(); }, rule);
    must_throw<wrong_loop>([&] { one.write_all("x"); }, rule);
    must_throw<wrong_loop>([&] { one.shutdown_write(); }, rule);
    must_throw<wrong_loop>([&] { one.close(); }, rule);
    must_throw<wrong_loop>([&] { one.move_to(0); }, rule);
    must_throw<wrong_loop>([&] { (void)one.detach(); }, rule);
  };
  if (loop_count() > 1) spawn(on_loop((this_loop() + 1) % loop_count()), use).get();
  spawn_cpu(use).get();
  spawn_blocking(use).get();
  require(one.is_open() && one.bytes_written() == 1, "and does nothing");
  require(read_exactly(b, 1) == "x", "the stream is as before");
}

void moves_between_loops(const stream_kind& k) {
  auto [a, b] = make(k);
  // So that its loop knows it.
  require(!move_on_after(1ms, [&one = a] { one_byte(one); }), "nothing comes where nothing was sent");
  must_throw<std::out_of_range>([&one = a] { one.move_to(loop_count()); }, "a stream moves to loops that there are");
  b.write_all("ab");
  while (a.buffered().size() < 2) (void)a.fill();
  const std::size_t n = in_simulation() ? 300 : 30'000;
  for (unsigned round = 0; round < 4; ++round) {
    const unsigned there = (this_loop() + round) % loop_count();
    a.move_to(there);
    with_group([&, &one = a, &other = b](task_group& g) {
      auto echo = g.spawn(on_loop(there), [n, round, s = std::move(one), home = this_loop()]() mutable {
        if (round == 0) require(read_exactly(s, 2) == "ab", "a stream that moves takes along what it has buffered");
        const std::string got = read_exactly(s, n);
        with_group([&](task_group& both) {  // both directions are in use on the new loop
          both.spawn([&] { s.write_all(got); });
          require(!move_on_after(1ms, [&] { one_byte(s); }), "nothing comes where nothing was sent");
        });
        s.move_to(home);
        return std::move(s);
      });
      g.spawn([&] { send_text(other, n); });
      require(read_exactly(other, n) == text(n), "a stream that was moved carries bytes");
      one = std::move(echo).get();
    });
  }
}

void moves_as_an_object(const stream_kind& k) {
  auto [one, other] = make(k);
  one.write_all("abc");
  while (other.buffered().size() < 3) (void)other.fill();
  stream third(std::move(other));
  require(!other.is_open() && other.buffered().empty(), "a stream that was moved from is a closed one");
  must_throw<io::stream_closed>([&s = other] { one_byte(s); }, "a stream that was moved from is a closed one");
  require(third.buffered() == "abc" && third.bytes_read() == 3, "a move takes buffer and counts along");
  third.read_timeout(5ms);
  other = std::move(third);
  require(other.read_until("c") == "abc", "a stream can be assigned to after that");
  must_throw<timed_out>([&s = other] { one_byte(s); }, "a move takes the timeouts along");
  other = stream();
  require(read_all(one).empty(), "a stream that is assigned to was closed");
}

void may_be_dropped_anywhere(const stream_kind& k) {
  auto [a, b] = make(k);
  (void)move_on_after(1ms, [&one = a] { one_byte(one); });
  (void)move_on_after(1ms, [&other = b] { one_byte(other); });
  spawn_blocking([s = std::move(a)] {}).get();
  require(read_all(b).empty(), "dropping a stream closes it, on any thread");
  if (loop_count() > 1) spawn(on_loop((this_loop() + 1) % loop_count()), [s = std::move(b)] {}).get();
}

void writing_to_one_who_is_gone_is_an_error(const stream_kind& k) {
  auto [one, other] = make(k);
  other.close();
  std::uint64_t before = 0;
  const auto e = must_throw<io::error>(
      [&] {
        for (;;) {
          before = one.bytes_written();
          send_text(one, 200'000, before);
        }
      },
      "writing to one who is gone is an error");
  require(is_gone(e.code()), std::string("it says that they are gone, not: ") + e.what());
  require(e.operation() == "write to", "an error names the operation");
  require(!e.peer().empty() && one.describe().find(e.peer()) != std::string::npos, "an error names the peer");
  require(one.is_open(), "the stream is not closed by that");
}

void an_error_counts_what_was_written(const stream_kind& k) {
  auto [a, b] = make(k);
  const std::string big = text(much());
  with_group([&, &one = a, &other = b](task_group& g) {
    g.spawn([&] {
      (void)read_exactly(other, big.size() / 2);
      other.close();
    });
    const auto e = must_throw<io::error>(
        [&] {
          std::vector<std::span<const std::byte>> pieces(9, bytes_of("1"));
          pieces.insert(pieces.end(), 2 + k.most_under_way / big.size(), bytes_of(big));
          one.write_all(pieces);
        },
        "a write that breaks in the middle is an error");
    require(e.bytes() == one.bytes_written(), "its bytes() tells how much was written");
    require(e.bytes() >= big.size() / 2, "which is what the other side has read, at least");
  });
}

void wakes_those_who_wait_when_the_other_side_goes(const stream_kind& k) {
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    auto reader = g.spawn([&] {
      try {
        (void)read_all(one);
      } catch (const io::error&) {
      }
    });
    auto writer = g.spawn([&] {
      const auto e = must_throw<io::error>([&] { send_for_ever(one); }, "a writer that waits learns that they went");
      require(is_gone(e.code()), std::string("it learns that they are gone, not: ") + e.what());
    });
    wait_until_full(one);
    other.close();
    reader.get();
    writer.get();
  });
}

void ends_in_three_different_ways(const stream_kind& k) {
  {
    auto [one, other] = make(k);
    one.shutdown_write();
    must_throw<io::end_of_stream>([&s = other] { (void)read_exactly(s, 1); }, "their end is end_of_stream");
  }
  {
    auto [one, other] = make(k);
    other.close();
    must_throw<io::stream_closed>([&s = other] { (void)read_exactly(s, 1); }, "your own close is stream_closed");
  }
  if (!k.break_off) return;
  auto [a, b] = make(k);
  with_group([&, &one = a, &other = b](task_group& g) {
    auto reader = g.spawn([&] {
      const auto e =
          must_throw<io::error>([&] { (void)read_all(other); }, "a broken connection is an error to a reader");
      require(is_gone(e.code()), std::string("which says that they are gone, not: ") + e.what());
      require(e.operation() == "read from", "and names the operation");
    });
    let_others_wait();
    k.break_off(one);
    one.close();
    reader.get();
    const auto e = must_throw<io::error>(
        [&] {
          for (;;) other.write_all("x");
        },
        "a broken connection is an error to a writer");
    require(is_gone(e.code()), std::string("which says that they are gone, not: ") + e.what());
    other.close();
    must_throw<io::stream_closed>([&] { one_byte(other); }, "once it is closed here, too, it is stream_closed");
  });
}

void is_detached_with_what_was_buffered(const stream_kind& k) {
  auto [one, other] = make(k);
  one.write_all("line\nrest");
  require(other.read_until("\n") == "line\n", "a line comes");
  while (other.buffered().size() < 4) (void)other.fill();
  if (!k.descriptor) {
    const auto e =
        must_throw<io::error>([&s = other] { (void)s.detach(); }, "what is no descriptor cannot be detached");
    require(e.code() == std::errc::not_supported, "the error says so");
    require(other.is_open() && other.buffered() == "rest", "the stream is as before");
    one.write_all("more");
    require(read_exactly(other, 8) == "restmore", "and goes on");
    return;
  }
  const io::detached_stream theirs = other.detach();
  require(theirs.descriptor.get() >= 0 && theirs.buffered == "rest", "detach() gives descriptor and buffer");
  require(!other.is_open() && other.native_handle() < 0, "the stream is closed");
  must_throw<io::stream_closed>([&s = other] { (void)s.detach(); }, "it is detached once");
  require(!move_on_after(20ms, [&s = one] { one_byte(s); }), "the connection is not closed");
}

struct rule {
  const char* name;
  void (*check)(const stream_kind&);
};

#define WEFT_RULE(name) \
  rule { #name, &name }
constexpr std::array all_rules = {
    WEFT_RULE(carries_bytes_both_ways_at_once),
    WEFT_RULE(gathers_pieces_in_order),
    WEFT_RULE(holds_its_writer_back),
    WEFT_RULE(reads_exactly_over_any_split),
    WEFT_RULE(finds_delimiters_over_any_split),
    WEFT_RULE(gives_lines_over_any_split),
    WEFT_RULE(lines_go_on_after_what_stopped_them),
    WEFT_RULE(refuses_long_lines_and_keeps_them),
    WEFT_RULE(shows_parsers_what_has_come),
    WEFT_RULE(does_nothing_with_nothing),
    WEFT_RULE(ends_each_half_by_itself),
    WEFT_RULE(gives_the_end_that_comes_with_data),
    WEFT_RULE(an_end_in_the_middle_keeps_what_came),
    WEFT_RULE(delivers_what_was_written_before_close),
    WEFT_RULE(delivers_though_not_all_that_came_was_read),
    WEFT_RULE(delivers_out_of_a_full_way),
    WEFT_RULE(finishes_with_one_who_goes_on_sending),
    WEFT_RULE(finishes_in_time),
    WEFT_RULE(cancelled_reads_take_nothing),
    WEFT_RULE(cancelled_writes_tell_how_far_they_came),
    WEFT_RULE(does_nothing_in_a_cancelled_scope),
    WEFT_RULE(reads_have_a_deadline),
    WEFT_RULE(the_first_byte_has_a_deadline_of_its_own),
    WEFT_RULE(a_line_is_timed_as_a_whole),
    WEFT_RULE(writes_have_a_deadline),
    WEFT_RULE(close_ends_the_waits_of_others),
    WEFT_RULE(a_closed_stream_says_so),
    WEFT_RULE(has_one_reader_and_one_writer),
    WEFT_RULE(belongs_to_its_loop),
    WEFT_RULE(moves_between_loops),
    WEFT_RULE(moves_as_an_object),
    WEFT_RULE(may_be_dropped_anywhere),
    WEFT_RULE(writing_to_one_who_is_gone_is_an_error),
    WEFT_RULE(an_error_counts_what_was_written),
    WEFT_RULE(wakes_those_who_wait_when_the_other_side_goes),
    WEFT_RULE(ends_in_three_different_ways),
    WEFT_RULE(is_detached_with_what_was_buffered),
};
#undef WEFT_RULE

[[noreturn]] void break_contract(const stream_kind& k, const rule& r, const std::string& how,
                                 const std::string& where) {
  throw contract_broken(k.name + ", " + r.name + ", " + where + ": " + how);
}

// A rule that hangs is broken; so is one that another exception leaves.
template <class Run>
void judge(const stream_kind& k, const rule& r, const std::string& where, std::chrono::seconds longest, Run run) {
  try {
    run([&] {
      if (!within(longest, [&] { r.check(k); })) throw timed_out("it was cancelled");
    });
  } catch (const contract_broken& e) {
    break_contract(k, r, e.what(), where);
  } catch (const timed_out& e) {
    break_contract(k, r, std::string("it hangs, or runs into a deadline: ") + e.what(), where);
  } catch (const std::exception& e) {
    break_contract(k, r, std::string("an error that does not belong here: ") + e.what(), where);
  } catch (const cancelled& e) {
    break_contract(k, r, std::string("a cancellation that does not belong here: ") + e.what(), where);
  }
}

// --- cancellation at each place ---

using scenario = void (*)(const stream_kind&, cancel_probe&);

constexpr std::string_view sent_line = "a line of text\n";

void cancel_a_reader(const stream_kind& k, cancel_probe& probe, bool exactly) {
  auto [a, b] = make(k);
  stream& one = a;
  stream& other = b;
  std::string got;
  const auto read = [&] { got = exactly ? read_exactly(other, sent_line.size()) : other.read_until("\n"); };
  auto writer = spawn([&] {
    one.write_all(sent_line.substr(0, 5));
    sleep_for(1ms);
    one.write_all(sent_line.substr(5));
  });
  probe.cancelled_task(read);
  probe.check([&] {
    if (got.empty()) read();
    writer.get();
    return got == sent_line && other.buffered().empty() && other.bytes_read() == sent_line.size();
  });
}

void cancel_lines(const stream_kind& k, cancel_probe& probe) {
  auto [a, b] = make(k);
  stream& one = a;
  stream& other = b;
  std::string got;
  const auto read = [&] {
    for (auto& line : other.lines()) got += line + "|";
  };
  auto writer = spawn([&] {
    one.write_all("first\nsec");
    sleep_for(1ms);
    one.write_all("ond\nlast");
    one.shutdown_write();
  });
  probe.cancelled_task(read);
  probe.check([&] {
    read();
    writer.get();
    return got == "first|second|last|";
  });
}

void cancel_a_writer(const stream_kind& k, cancel_probe& probe) {
  auto [a, b] = make(k);
  stream& one = a;
  stream& other = b;
  auto reader = spawn([&] { return read_all(other); });
  probe.cancelled_task([&] {
    one.write_all({sent_line.substr(0, 4), sent_line.substr(4)});
    one.shutdown_write();
  });
  probe.check([&] {
    if (one.bytes_written() < sent_line.size())
      one.write_all(sent_line.substr(static_cast<std::size_t>(one.bytes_written())));
    one.shutdown_write();  // once more does no harm
    return reader.get() == sent_line && one.bytes_written() == sent_line.size();
  });
}

}  // namespace

namespace {

void check_cancellation(const stream_kind& kind, const effort& e) {
  cancel_options options;
  options.seeds = (e.seeds + 9) / 10;
  options.runtime.loops = e.loops;
  try {
    (void)check_stream_cancellation(kind, options);
  } catch (const std::exception& problem) {
    throw contract_broken(kind.name + ", cancelled at each place: " + problem.what());
  }
}

}  // namespace

void check_stream(const stream_kind& kind, const effort& e) {
  if (!kind.real && !kind.simulated)
    throw std::invalid_argument("check_stream(): " + kind.name + " is neither real nor simulated");
  if (e.loops == 0) throw std::invalid_argument("check_stream(): effort.loops is 0");
  for (const rule& r : all_rules) {
    if (kind.simulated)
      for (std::uint64_t seed = 0; seed < e.seeds; ++seed)
        judge(kind, r, "with seed " + std::to_string(seed), 10min,
              [&](const auto& body) { sim::run(seed, body, {.loops = e.loops}); });
    if (!kind.real) continue;
    for (unsigned loops = 1; loops <= e.loops; loops += loops < e.loops ? e.loops - 1 : 1)
      judge(kind, r, "on " + std::to_string(loops) + (loops == 1 ? " loop" : " loops"), 20s, [&](const auto& body) {
        config c;
        c.loops = loops;
        c.cpu_workers = 2;
        c.stall_after = 0ns;
        c.cpu_threads = cpu_scheduling::normal;  // others may keep the machine busy
        weft::run(body, c);
      });
  }
  if (kind.simulated) check_cancellation(kind, e);
}

std::size_t check_stream_cancellation(const stream_kind& kind, const cancel_options& options) {
  std::size_t places = 0;
  places += cancel_everywhere([&](cancel_probe& p) { cancel_a_reader(kind, p, true); }, options);
  places += cancel_everywhere([&](cancel_probe& p) { cancel_a_reader(kind, p, false); }, options);
  places += cancel_everywhere([&](cancel_probe& p) { cancel_lines(kind, p); }, options);
  places += cancel_everywhere([&](cancel_probe& p) { cancel_a_writer(kind, p); }, options);
  return places;
}

}  // namespace weft::testing
