#include "weft/io/stream.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "socket.hpp"
#include "stream_access.hpp"
#include "weft/error.hpp"
#include "weft/loop.hpp"
#include "weft/timeout.hpp"
#include "weft/waiter.hpp"

namespace weft::io {

using detail::reading;
using detail::writing;

namespace {

// The buffers that the streams of a thread share: the last used is used next, for it is in the core's caches. Whoever
// waits has none, so there are about as many as streams with a message that is not whole yet, or as there are early
// reads in a batch.
struct lent_buffers {
  static constexpr std::size_t size = 64 * 1024;
  using buffer = std::unique_ptr<char[]>;

  std::array<buffer, 40> kept;
  std::size_t count = 0;
  // What was read early lies here until its fiber runs, and takes one of the kept for it: so that all of a batch is in
  // few cache lines and pages, and nobody finds that there is no memory for what has left the system.
  std::array<char, 32 * 1024> early;
  std::size_t early_bytes = 0;
  std::size_t early_reads = 0;
};

// Null before the thread's first, and again when the thread has destroyed what it had.
constinit thread_local lent_buffers* tl_lent = nullptr;

[[gnu::noinline]] void begin_to_lend() {
  thread_local struct owner {
    std::unique_ptr<lent_buffers> mine{new lent_buffers};  // left uninitialised, where it can be
    owner() { tl_lent = mine.get(); }
    ~owner() { tl_lent = nullptr; }
  } all;
}

lent_buffers::buffer take_lent() {
  if (tl_lent && tl_lent->count > tl_lent->early_reads) [[likely]]
    return std::move(tl_lent->kept[--tl_lent->count]);
  if (on_a_loop()) begin_to_lend();
  return lent_buffers::buffer(new char[lent_buffers::size]);  // left uninitialised
}
void give_back_lent(lent_buffers::buffer b) noexcept {
  if (tl_lent && tl_lent->count < tl_lent->kept.size()) tl_lent->kept[tl_lent->count++] = std::move(b);
}

// What fill() leaves at a socket while it waits.
class early_read final : public detail::early_reader {
 public:
  explicit early_read(detail::socket_transport& s) noexcept : socket_(s), fd_(s.fd()) {}
  ~early_read() { drop(); }
  early_read(const early_read&) = delete;
  early_read& operator=(const early_read&) = delete;

  /// What is read early is about so much at the most: more would fall out of the caches before its fiber runs, and to
  /// copy it would cost more than is gained.
  static constexpr std::size_t most = 4 * 1024;

  bool readable() noexcept override {
    if (!tl_lent) return false;
    lent_buffers& all = *tl_lent;
    const auto room = std::span(all.early).subspan(all.early_bytes);
    if (room.size() < most || !find_buffer(all)) return false;
    __builtin_prefetch(&socket_);  // for when the fiber writes
    const ssize_t n = detail::receive(fd_, room.data(), room.size());
    if (n < 0 && errno != EINTR && !detail::would_wait(errno)) error_ = errno;  // the system tells of it once
    if (n <= 0) return false;
    bytes_ = room.first(static_cast<std::size_t>(n));
    all.early_bytes += bytes_.size();
    ++all.early_reads;
    return bytes_.size() < room.size();
  }

  [[nodiscard]] std::span<const char> bytes() const noexcept { return bytes_; }
  [[nodiscard]] int error() const noexcept { return error_; }
  /// The bytes are not wanted any more, and the buffer that was kept for them is anybody's.
  void drop() noexcept {
    if (bytes_.empty()) return;
    bytes_ = {};
    if (--tl_lent->early_reads == 0) tl_lent->early_bytes = 0;
  }

 private:
  static bool find_buffer(lent_buffers& all) noexcept {
    if (all.count > all.early_reads) [[likely]]
      return true;
    if (all.count == all.kept.size()) return false;
    lent_buffers::buffer more(new (std::nothrow) char[lent_buffers::size]);
    if (!more) return false;
    all.kept[all.count++] = std::move(more);
    return true;
  }

  detail::socket_transport& socket_;
  const int fd_;
  int error_ = 0;
  std::span<const char> bytes_;
};

}  // namespace

// --- life ---

stream::stream(std::unique_ptr<transport> carrier)
    : home_(weft::detail::require_loop()),
      open_(true),
      tries_(carrier && carrier->tries()),
      socket_(dynamic_cast<detail::socket_transport*>(carrier.get()) != nullptr),
      carrier_(std::move(carrier)) {}

stream::stream(stream&& other) noexcept { take(other); }

stream& stream::operator=(stream&& other) noexcept {
  if (this == &other) return *this;
  check_idle("assigned to");
  take(other);
  return *this;
}

stream::~stream() { check_idle("destroyed"); }

void stream::take(stream& other) noexcept {
  other.check_idle("moved");
  home_.store(other.home_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  open_ = std::exchange(other.open_, false);
  tries_ = other.tries_;
  socket_ = other.socket_;
  filled_ = other.filled_;
  exact_ = other.exact_;
  large_ = other.large_;
  carrier_ = std::move(other.carrier_);
  buffer_ = std::move(other.buffer_);
  begin_ = std::exchange(other.begin_, 0);
  end_ = std::exchange(other.end_, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  read_timeout_ = other.read_timeout_;
  later_read_timeout_ = other.later_read_timeout_;
  write_timeout_ = other.write_timeout_;
  bytes_read_ = other.bytes_read_;
  bytes_written_ = other.bytes_written_;
}

void stream::check_idle(const char* what) const noexcept {
  if (!reading_ && !writing_) return;
  std::fprintf(stderr,
               "weft: a stream was %s while a fiber waits in it; close() it and join that fiber first, or keep it "
               "where both can reach it\n",
               what);
  std::abort();
}

// What throws is apart, so that the rest is in line.

namespace {

[[noreturn, gnu::cold, gnu::noinline]] void throw_wrong_loop(std::uint32_t home) {
  throw wrong_loop("a stream of " + weft::detail::describe_loop(home) + " was used " +
                   (on_a_loop() ? "on loop " + std::to_string(this_loop()) : "off the loops") +
                   "; a stream stays where it was made, but for move_to()");
}
[[noreturn, gnu::cold, gnu::noinline]] void throw_closed(const char* operation, const stream& s) {
  throw stream_closed(operation, s.describe());
}

}  // namespace

void stream::check_loop() const {
  // relaxed: whoever moved the object here has ordered it; anybody else only needs some loop that is not theirs.
  const auto home = home_.load(std::memory_order_relaxed);
  if (carrier_ && weft::detail::this_loop_token() != home) [[unlikely]]
    throw_wrong_loop(home);
}

void stream::check_open(const char* operation) const {
  if (!open_) [[unlikely]]
    throw_closed(operation, *this);
}

void stream::close() {
  check_loop();
  open_ = false;
  begin_ = end_ = 0;
  if (carrier_) carrier_->close();
}

bool stream::finish(std::chrono::nanoseconds longest) {
  detail::stream_access::check_idle(*this, "finish");
  struct last {
    stream& s;
    ~last() { s.close(); }
  } const closed{*this};
  begin_ = end_ = 0;
  read_timeout(no_timeout);
  write_timeout(no_timeout);
  try {
    return move_on_after(longest, [this] {
      shutdown_write();
      std::array<std::byte, 4096> some;
      while (read_some(some) > 0) {
      }
    });
  } catch (const error&) {
    return false;
  }
}

void stream::move_to(unsigned loop) {
  check_loop();
  check_open("move");
  if (reading_ || writing_) throw stream_busy("move", describe());
  if (loop >= loop_count())
    throw std::out_of_range("move_to(" + std::to_string(loop) + "): this runtime has " + std::to_string(loop_count()) +
                            " loops");
  carrier_->leave_loop();
  home_.store(weft::detail::token_of(loop), std::memory_order_relaxed);
}

detached_stream stream::detach() {
  check_loop();
  check_open("detach");
  if (reading_ || writing_) throw stream_busy("detach", describe());
  detached_stream all{{}, std::string(buffered())};
  all.descriptor = carrier_->detach();
  if (!all.descriptor) throw error(std::error_code(ENOTSUP, std::system_category()), "detach", describe());
  close();
  return all;
}

// --- the carrier: mostly a socket, and then in line; see socket_calls.hpp ---

inline detail::socket_transport* stream::as_socket() const noexcept {
  return static_cast<detail::socket_transport*>(carrier_.get());
}

[[gnu::always_inline]] inline bool stream::may_have_some() const noexcept {
  return socket_ ? as_socket()->detail::socket_transport::may_have_some() : carrier_->may_have_some();
}

[[gnu::always_inline]] inline std::optional<std::size_t> stream::try_read(std::span<std::byte> to,
                                                                          std::span<std::byte> more) {
  return socket_ ? as_socket()->try_read_in_line(to, more) : carrier_->try_read(to, more);
}

void detail::count_as_work(std::size_t bytes) noexcept {
  constexpr std::size_t of_a_checkpoint = 2 * 1024;
  constexpr std::size_t most = 127;  // the next checkpoint takes turns
  if (weft::detail::agent* const me = weft::detail::current_agent())
    me->turn = static_cast<std::uint8_t>(std::min(most, me->turn + bytes / of_a_checkpoint));
}

// --- reading ---

// Behind what is buffered.
inline std::span<std::byte> stream::room() noexcept {
  return std::as_writable_bytes(std::span(buffer_.get(), capacity_)).subspan(end_);
}

// n > 0 bytes, there.
inline void stream::received(std::size_t n) noexcept {
  end_ += n;
  bytes_read_ += n;
  detail::moved(n);
  read_timeout_ = later_read_timeout_;
  large_ = n > early_read::most;
}

void stream::read_timeout(std::chrono::nanoseconds first, std::chrono::nanoseconds later) noexcept {
  read_timeout_ = first;
  later_read_timeout_ = later;
}

std::size_t stream::receive(std::span<std::byte> to, wait_limit limit) {
  check_open(reading);
  std::size_t n = 0;
  if (!tries_) {
    n = carrier_->read_some(to, limit);
    bytes_read_ += n;
    detail::moved(n);
  } else {
    settle();
    // A read that fills `to` leaves open whether there is more, and it takes a second one to find nothing. Where that
    // has happened, the next ones ask for a little more than there is room for.
    std::array<std::byte, 64> more;
    for (;;) {
      if (may_have_some()) {
        const auto got = try_read(to, exact_ ? std::span(more) : std::span<std::byte>());
        if (got) {
          n = *got;
          break;
        }
        exact_ = exact_ || filled_;
      }
      filled_ = false;
      carrier_->wait_readable(limit);
      check_open(reading);
    }
    bytes_read_ += n;
    detail::moved(n);
    if (n > to.size()) {
      put_back(std::span(more).first(n - to.size()));
      exact_ = false;
      n = to.size();
    }
    filled_ = n == to.size();
  }
  if (n > 0) read_timeout_ = later_read_timeout_;
  return n;
}

// Behind what is buffered.
std::size_t stream::receive_more(wait_limit limit) { return receive_more_in_line(limit); }

[[gnu::always_inline]] inline std::size_t stream::receive_more_in_line(wait_limit limit) {
  if (!tries_) {
    make_room();
    const std::size_t n = receive(room(), limit);
    end_ += n;
    return n;
  }
  check_open(reading);
  for (;;) {
    if (may_have_some()) {
      borrow();
      if (const auto n = try_read(room(), {})) {
        if (*n > 0)
          received(*n);
        else
          settle();
        return *n;
      }
    }
    settle();
    if (!socket_) {
      carrier_->wait_readable(limit);
      check_open(reading);
      continue;
    }
    early_read early(*as_socket());
    as_socket()->wait_readable_in_line(limit, begin_ == end_ && !large_ ? &early : nullptr);
    check_open(reading);
    if (early.error() != 0) [[unlikely]]
      as_socket()->throw_read_error(early.error());
    if (const auto bytes = early.bytes(); !bytes.empty()) {
      early.drop();  // and so the buffer is there for borrow()
      borrow();
      std::memcpy(buffer_.get(), bytes.data(), bytes.size());
      received(bytes.size());
      return bytes.size();
    }
  }
}

bool stream::lends() const noexcept { return capacity_ == lent_buffers::size; }

// Room behind what is buffered: a lent buffer, if nothing is.
void stream::borrow() {
  if (begin_ == end_ && capacity_ < lent_buffers::size) {
    buffer_ = take_lent();
    capacity_ = lent_buffers::size;
  }
  make_room();
}

// Before a wait: a lent buffer goes back, unless there is much in it.
void stream::settle() {
  if (!lends()) return;
  const std::size_t rest = end_ - begin_;
  if (rest == 0) [[likely]] {
    give_back_lent(std::move(buffer_));
    capacity_ = begin_ = end_ = 0;
    return;
  }
  constexpr std::size_t little = 2048;
  if (rest > little) return;
  std::unique_ptr<char[]> own(new char[2 * little]);
  std::memcpy(own.get(), buffer_.get() + begin_, rest);
  give_back_lent(std::exchange(buffer_, std::move(own)));
  capacity_ = 2 * little;
  begin_ = 0;
  end_ = rest;
}

void stream::make_room(std::size_t at_first) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (end_ < capacity_) return;
  if (begin_ >= capacity_ / 2 && begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  } else {
    const std::size_t larger = std::max(at_first, 2 * capacity_);
    std::unique_ptr<char[]> next(new char[larger]);  // left uninitialised
    if (end_ != begin_) std::memcpy(next.get(), buffer_.get() + begin_, end_ - begin_);
    buffer_ = std::move(next);
    capacity_ = larger;
  }
  end_ -= begin_;
  begin_ = 0;
}

std::size_t stream::take_buffered(std::span<std::byte> to) noexcept {
  const std::size_t n = std::min(to.size(), end_ - begin_);
  if (n > 0) std::memcpy(to.data(), buffer_.get() + begin_, n);
  begin_ += n;
  return n;
}

// In front of what is buffered.
void stream::put_back(std::span<const std::byte> bytes) {
  const std::size_t rest = end_ - begin_;
  const std::size_t total = bytes.size() + rest;
  if (total == 0) return;
  std::unique_ptr<char[]> next(new char[total]);
  if (!bytes.empty()) std::memcpy(next.get(), bytes.data(), bytes.size());
  if (rest > 0) std::memcpy(next.get() + bytes.size(), buffer_.get() + begin_, rest);
  buffer_ = std::move(next);
  capacity_ = end_ = total;
  begin_ = 0;
}

std::size_t stream::read_some(std::span<std::byte> to) {
  const turn mine(*this, reading_, reading);
  checkpoint();
  if (to.empty()) return 0;
  if (begin_ != end_) return take_buffered(to);
  return receive(to, read_timeout_);
}

void stream::read_exactly(std::span<std::byte> to) {
  const turn mine(*this, reading_, reading);
  checkpoint();
  std::size_t done = take_buffered(to);
  try {
    while (done < to.size()) {
      const std::size_t n = receive(to.subspan(done), read_timeout_);
      if (n == 0) throw end_of_stream(reading, describe(), done);
      done += n;
    }
  } catch (...) {
    if (open_) put_back(to.first(done));
    throw;
  }
}

// The length of what is buffered up to and with the delimiter; 0 when the stream ends before it.
std::size_t stream::wait_for(std::string_view delimiter, std::size_t limit) {
  const auto allowed_now = [this] { return wait_limit(read_timeout_).start(); };
  deadline until = allowed_now();
  std::size_t seen = 0;  // no delimiter begins before it
  for (;;) {
    const std::string_view there = buffered();
    const std::size_t at = there.substr(0, limit).find(delimiter, seen);
    if (at != std::string_view::npos) return at + delimiter.size();
    if (there.size() >= limit) throw line_too_long(describe(), limit);
    if (there.size() >= delimiter.size()) seen = there.size() - delimiter.size() + 1;
    const auto allowed = read_timeout_;
    if (receive_more(until) == 0) return 0;
    if (read_timeout_ != allowed) until = allowed_now();  // that was the first byte
  }
}

std::string stream::read_until(std::string_view delimiter, std::size_t limit) {
  if (delimiter.empty()) throw std::invalid_argument("read_until(): the delimiter is empty");
  const turn mine(*this, reading_, reading);
  checkpoint();
  const std::size_t n = wait_for(delimiter, limit);
  if (n == 0) throw end_of_stream(reading, describe(), end_ - begin_);
  std::string line(buffered().substr(0, n));
  begin_ += n;
  return line;
}

bool line_range::advance() {
  stream& s = *from_;
  const stream::turn mine(s, s.reading_, reading);
  checkpoint();
  const std::size_t n = s.wait_for("\n", limit_);
  std::string_view line = s.buffered().substr(0, n > 0 ? n : std::string_view::npos);
  if (line.empty()) return false;
  const std::size_t size = line.size();
  if (n > 0) line.remove_suffix(line.ends_with("\r\n") ? 2 : 1);
  line_ = line;  // may find no memory: then it is the next range's
  s.begin_ += size;
  return true;
}

std::size_t stream::fill(std::size_t limit) {
  const turn mine(*this, reading_, reading);
  checkpoint();
  if (end_ - begin_ >= limit) throw line_too_long(describe(), limit);
  return receive_more_in_line(read_timeout_);
}

void stream::consume(std::size_t n) {
  if (n > end_ - begin_)
    throw std::out_of_range("consume(" + std::to_string(n) + "): " + std::to_string(end_ - begin_) +
                            " bytes are buffered");
  begin_ += n;
}

// --- writing ---

namespace {

constexpr std::size_t pieces_at_once = 16;
using window = std::array<std::span<const std::byte>, pieces_at_once>;

// Puts the first pieces that are not empty into w, without `skip` bytes of the very first. Gives their number, and
// takes the empty ones before them out of `pieces`.
std::size_t fill_window(window& w, std::span<const std::span<const std::byte>>& pieces, std::size_t skip) noexcept {
  while (!pieces.empty() && pieces[0].size() == skip) {
    pieces = pieces.subspan(1);
    skip = 0;
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < pieces.size() && count < w.size(); ++i) {
    const auto piece = i == 0 ? pieces[0].subspan(skip) : pieces[i];
    if (!piece.empty()) w[count++] = piece;
  }
  return count;
}

}  // namespace

std::size_t stream::write_some(std::span<const std::span<const std::byte>> pieces) {
  const turn mine(*this, writing_, writing);
  checkpoint();
  check_open(writing);
  window some;
  if (pieces.size() != 1 || pieces[0].empty()) {
    const std::size_t count = fill_window(some, pieces, 0);
    if (count == 0) return 0;
    pieces = std::span(some.data(), count);
  }
  const std::size_t n = carrier_->write_some(pieces, write_timeout_);
  bytes_written_ += n;
  detail::moved(n);
  return n;
}

std::size_t stream::send(std::span<const std::span<const std::byte>> pieces, std::uint64_t before) {
  return send_in_line(pieces, before);
}

// An error tells what was written since `before`, too, and stays what it is: TLS has more to say.
[[gnu::always_inline]] inline std::size_t stream::send_in_line(std::span<const std::span<const std::byte>> pieces,
                                                               std::uint64_t before) {
  check_open(writing);
  try {
    const std::size_t n = socket_ ? as_socket()->write_some_in_line(pieces, write_timeout_)
                                  : carrier_->write_some(pieces, write_timeout_);
    bytes_written_ += n;
    detail::moved(n);
    return n;
  } catch (error& e) {
    if (bytes_written_ != before) e.add_bytes(bytes_written_ - before);
    throw;
  }
}

void stream::write_all(std::span<const std::byte> from) {
  const turn mine(*this, writing_, writing);
  checkpoint();
  const std::uint64_t before = bytes_written_;
  while (!from.empty()) from = from.subspan(send_in_line(std::span(&from, 1), before));
}

void stream::write_all(std::initializer_list<std::string_view> pieces) {
  constexpr std::size_t few = 8;
  std::array<std::span<const std::byte>, few> some;
  std::vector<std::span<const std::byte>> many(pieces.size() > few ? pieces.size() : 0);
  const auto bytes = many.empty() ? std::span(some).first(pieces.size()) : std::span(many);
  std::transform(pieces.begin(), pieces.end(), bytes.begin(),
                 [](auto piece) { return std::as_bytes(std::span(piece)); });
  write_all(std::span<const std::span<const std::byte>>(bytes));
}

void stream::write_all(std::span<const std::span<const std::byte>> pieces) {
  const turn mine(*this, writing_, writing);
  checkpoint();
  window some;
  const std::uint64_t before = bytes_written_;
  std::size_t skip = 0;  // what was written of the first piece
  while (const std::size_t count = fill_window(some, pieces, skip)) {
    std::size_t n = send(std::span(some.data(), count), before) + skip;
    while (!pieces.empty() && n >= pieces[0].size()) {
      n -= pieces[0].size();
      pieces = pieces.subspan(1);
    }
    skip = n;
  }
}

void stream::shutdown_write() {
  const turn mine(*this, writing_, "end");
  carrier_->shutdown_write(write_timeout_);
}

}  // namespace weft::io
