#pragma once
// For what is done with streams and is no member of theirs: their turns, and what lies below them.

#include <memory>
#include <utility>

#include "weft/io/error.hpp"
#include "weft/io/stream.hpp"
#include "weft/rarely.hpp"

namespace weft::io {

// One fiber's right to read, or to write.
class stream::turn {
 public:
  turn(const stream& s, bool& busy, const char* operation) : busy_(busy) {
    s.check_loop();
    if (busy) throw stream_busy(operation, s.describe());
    s.check_open(operation);
    busy = true;
  }
  ~turn() { busy_ = false; }
  turn(const turn&) = delete;
  turn& operator=(const turn&) = delete;

 private:
  bool& busy_;
};

namespace detail {

inline constexpr auto reading = "read from";
inline constexpr auto writing = "write to";

void count_as_work(std::size_t bytes) noexcept;
/// A fiber whose peer keeps up never waits, and would keep its loop from the others for 128 checkpoints, whatever it
/// does between them: so many bytes count as checkpoints, too.
inline void moved(std::size_t bytes) noexcept {
  constexpr std::size_t many = 8 * 1024;
  if (weft::detail::rarely(bytes >= many)) count_as_work(bytes);
}

struct stream_access {
  struct reader_turn : stream::turn {
    explicit reader_turn(stream& s) : turn(s, s.reading_, reading) {}
  };
  struct writer_turn : stream::turn {
    explicit writer_turn(stream& s) : turn(s, s.writing_, writing) {}
  };

  [[nodiscard]] static transport* carrier(const stream& s) noexcept { return s.carrier_.get(); }

  static void check_loop(const stream& s) { s.check_loop(); }
  /// Throws what is against taking it over.
  static void check_idle(stream& s, const char* operation) {
    const stream::turn reader(s, s.reading_, operation);
    const stream::turn writer(s, s.writing_, operation);
  }
  /// Its carrier; what is buffered stays.
  static std::unique_ptr<transport> release(stream& s) noexcept {
    s.open_ = false;
    return std::move(s.carrier_);
  }
  static void take_timeouts(stream& to, const stream& from) noexcept {
    to.read_timeout_ = from.read_timeout_;
    to.later_read_timeout_ = from.later_read_timeout_;
    to.write_timeout_ = from.write_timeout_;
  }

  // With the reader's turn.
  static void reserve(stream& s, std::size_t capacity) {
    if (s.capacity_ == 0) s.make_room(capacity);
  }
  static std::size_t receive_more(stream& s) { return s.receive_more(s.read_timeout_); }
  [[nodiscard]] static wait_limit read_limit(const stream& s) noexcept { return s.read_timeout_; }
  static void check_open_for_reading(const stream& s) { s.check_open(reading); }
  static void count_read(stream& s, std::size_t n) noexcept {
    s.bytes_read_ += n;
    moved(n);
    s.read_timeout_ = s.later_read_timeout_;
  }
  /// What was taken out of buffered() meanwhile; not if the stream was closed.
  static void consume(stream& s, std::size_t n) {
    s.check_open(reading);
    s.begin_ += n;
  }

  // With the writer's turn.
  static void check_open(const stream& s) { s.check_open(writing); }
  static std::size_t send(stream& s, std::span<const std::byte> from, std::uint64_t before) {
    return s.send(std::span(&from, 1), before);
  }
  [[nodiscard]] static wait_limit write_limit(const stream& s) noexcept { return s.write_timeout_; }
  static void count_written(stream& s, std::size_t n) noexcept {
    s.bytes_written_ += n;
    moved(n);
  }
};

}  // namespace detail
}  // namespace weft::io
