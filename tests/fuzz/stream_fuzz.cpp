// One fiber writes a text in pieces, another reads it in all ways there are, both slow, timed out and cancelled now and
// then. What is read is held against the text itself.

#include <chrono>
#include <utility>
#include <vector>

#include "fuzz.hpp"
#include "weft/error.hpp"
#include "weft/io/memory.hpp"
#include "weft/spawn.hpp"
#include "weft/this_fiber.hpp"
#include "weft/timeout.hpp"

using namespace std::chrono_literals;
using weft::fuzz::expect;
using weft::fuzz::input;
using weft::io::stream;

namespace {

// Runs f, which may be cut off; tells whether it came to its end.
template <class F>
bool perhaps_cut_off(input& in, F f) {
  const auto limit = std::chrono::milliseconds(in.choose(7));
  if (limit == 0ms) {
    f();
    return true;
  }
  return weft::move_on_after(limit, f);
}

void pause(input& in) {
  if (const auto d = in.choose(3)) weft::sleep_for(std::chrono::milliseconds(d));
}

// All of the text, whatever is cut off on the way: bytes_written() tells where to go on.
void write(stream& to, std::string_view text, input& in) {
  while (to.bytes_written() < text.size()) {
    const std::string_view rest = text.substr(to.bytes_written());
    const std::uint64_t before = to.bytes_written();
    const std::string_view piece = rest.substr(0, 1 + in.choose(200));
    bool whole = true;
    try {
      if (in.choose(3) == 3) {
        const std::size_t cut = std::min(in.choose(20), piece.size());
        whole = perhaps_cut_off(in, [&] { to.write_all({piece.substr(0, cut), "", piece.substr(cut)}); });
      } else {
        whole = perhaps_cut_off(in, [&] { to.write_all(piece); });
      }
    } catch (const weft::timed_out&) {
      whole = false;
    }
    const std::uint64_t wrote = to.bytes_written() - before;
    expect(whole ? wrote == piece.size() : wrote <= piece.size(), "bytes_written() tells what was written");
    pause(in);
  }
  to.shutdown_write();
}

class reader {
 public:
  reader(stream from, std::string_view text, input& in) : from_(std::move(from)), text_(text), in_(in) {}

  void run() {
    constexpr int most = 64;
    for (int i = 0; i < most && in_.left() > 0; ++i) {
      from_.read_timeout(in_.choose(7) == 7 ? std::chrono::nanoseconds(1ms) : weft::io::no_timeout);
      const auto at = at_;
      try {
        if (!perhaps_cut_off(in_, [&] { step(); })) expect(at == at_, "what was cut off has read nothing");
      } catch (const weft::timed_out&) {
        expect(at == at_, "what timed out has read nothing");
      }
      expect(text_.substr(at_).starts_with(from_.buffered()), "what is buffered comes next");
      expect(from_.bytes_read() == at_ + from_.buffered().size(), "bytes_read() tells what came");
      if (in_.choose(7) == 7) {
        stream elsewhere = std::move(from_);
        from_ = std::move(elsewhere);
      }
    }
    from_.read_timeout(weft::io::no_timeout);
    while (take(some(100)) > 0) continue;
    expect(rest().empty(), "all was read in the end");
  }

 private:
  [[nodiscard]] std::string_view rest() const { return text_.substr(at_); }

  std::string some(std::size_t n) {
    std::string to(n, '\0');
    to.resize(from_.read_some(std::span(to)));
    return to;
  }
  std::size_t take(const std::string& got) {
    expect(rest().starts_with(got), "what was read comes next");
    at_ += got.size();
    return got.size();
  }

  void step() {
    switch (in_.choose(4)) {
      case 0: {
        const std::size_t n = in_.choose(50);
        if (take(some(n)) == 0 && n > 0) expect(rest().empty(), "0 is the end");
        break;
      }
      case 1: {
        std::string to(in_.choose(100), '\0');
        try {
          from_.read_exactly(std::span(to));
          take(to);
        } catch (const weft::io::end_of_stream&) {
          expect(rest().size() < to.size(), "there are fewer bytes");
        }
        break;
      }
      case 2:
        read_until();
        break;
      case 3:
        read_line();
        break;
      default: {
        const std::size_t limit = 1 + in_.choose(100);
        try {
          if (from_.fill(limit) == 0) expect(rest() == from_.buffered(), "0 is the end");
        } catch (const weft::io::line_too_long&) {
          expect(from_.buffered().size() >= limit, "so many are buffered");
        }
        const std::size_t n = std::min(in_.choose(40), from_.buffered().size());
        const std::string got(from_.buffered().substr(0, n));
        from_.consume(n);
        take(got);
      }
    }
  }

  void read_until() {
    static constexpr std::string_view delimiters[] = {"\n",  "\r\n", "\r\n\r\n",
                                                      "aba", "aab",  std::string_view("\0", 1)};
    const std::string_view delimiter = delimiters[in_.choose(std::size(delimiters) - 1)];
    const std::size_t limit = in_.choose(60);
    const auto found = rest().substr(0, limit).find(delimiter);
    try {
      const std::string got = from_.read_until(delimiter, limit);
      expect(found != rest().npos && got.size() == found + delimiter.size(), "it ends with the first delimiter");
      take(got);
    } catch (const weft::io::line_too_long&) {
      expect(found == rest().npos && rest().size() >= limit, "there is no delimiter within the limit");
    } catch (const weft::io::end_of_stream&) {
      expect(found == rest().npos && rest().size() < limit, "there is no delimiter before the end");
    }
  }

  void read_line() {
    const std::size_t limit = in_.choose(60);
    const auto end = rest().substr(0, limit).find('\n');
    try {
      auto lines = from_.lines(limit);
      const auto line = lines.begin();
      if (line == lines.end()) {
        expect(rest().empty(), "no line is the end");
        return;
      }
      std::string_view right = rest().substr(0, end);
      const std::size_t size = end == rest().npos ? right.size() : end + 1;
      if (end != rest().npos && right.ends_with('\r')) right.remove_suffix(1);
      expect(*line == right, "a line is what stands before its end");
      at_ += size;
    } catch (const weft::io::line_too_long&) {
      expect(end == rest().npos && rest().size() >= limit, "the line is too long");
    }
  }

  stream from_;
  const std::string_view text_;
  input& in_;
  std::size_t at_ = 0;  // what was read
};

}  // namespace

void fuzz(input in) {
  const std::uint64_t seed = in.choose(255);
  const std::size_t capacity = 1 + in.choose(100);
  const std::string text(in.text(in.left() / 2));
  weft::fuzz::simulate(seed, [&] {
    auto [to, from] = weft::io::memory_pair(capacity);
    to.write_timeout(in.choose(3) == 3 ? std::chrono::nanoseconds(2ms) : weft::io::no_timeout);
    auto writing = weft::spawn([&, &to = to] { write(to, text, in); });
    reader(std::move(from), text, in).run();
    writing.get();
  });
}
