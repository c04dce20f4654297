#pragma once
// A stream of bytes in both directions, whatever carries it.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "weft/deadline.hpp"
#include "weft/io/endpoint.hpp"
#include "weft/io/error.hpp"
#include "weft/io/lines.hpp"
#include "weft/io/transport.hpp"
#include "weft/io/unique_fd.hpp"

namespace weft::io {

namespace detail {
class socket_transport;
struct stream_access;
}  // namespace detail

/// What stream::detach() gives.
struct detached_stream {
  unique_fd descriptor;  ///< does not block (O_NONBLOCK); but for a standard stream's over a socket, which is as it was
  std::string buffered;  ///< what was received and not yet read; it comes before what the descriptor gives
};

/// A transport and a read buffer. A stream over a socket, and TLS over one, has a buffer only while something is in it:
/// in a wait for bytes, all streams of a loop share a few. Belongs to the loop it was made on: use on any other throws
/// wrong_loop. One fiber may read while another writes. close() by one ends the waits of the others, and a stream must
/// not be destroyed or assigned to while somebody waits in it (the program is ended with a message).
///
/// After a cancellation or timeout the stream is usable, and bytes_read() and bytes_written() tell what was moved.
///
/// A call that finds all there and room for all switches by turns: every 128th lets the other fibers of the loop run,
/// and each 8 KiB or more that it moves at a time count as one for each 2 KiB.
class stream {
 public:
  static constexpr std::size_t default_line_limit = 8 * 1024;
  static constexpr std::size_t default_fill_limit = 64 * 1024;

  /// A closed one.
  stream() noexcept = default;
  /// Belongs to the calling loop. Throws no_runtime off a loop.
  explicit stream(std::unique_ptr<transport> carrier);
  stream(stream&& other) noexcept;
  stream& operator=(stream&& other) noexcept;
  /// close(). Any thread.
  ~stream();

  // --- reading ---

  /// Reads what is there, waiting when nothing is. Gives the number of bytes; 0 at the end of the stream, and for an
  /// empty `to`.
  ///
  /// Suspends: a checkpoint always; switches when nothing is there, else by turns.
  /// Cancel:   throws cancelled; nothing was read.
  /// Threads:  fibers of the stream's loop; one reader at a time.
  /// Ordering: what the sender wrote before it sent is visible, where they share memory.
  /// Throws:   error, stream_closed, timed_out (see read_timeout()), wrong_loop, stream_busy.
  std::size_t read_some(std::span<std::byte> to);
  std::size_t read_some(std::span<char> to) { return read_some(std::as_writable_bytes(to)); }

  /// Fills all of `to`.
  ///
  /// Suspends: a checkpoint always; switches when not all is there, else by turns.
  /// Cancel:   throws cancelled; nothing was read: what had come stays in the stream for the next read.
  /// Threads:  fibers of the stream's loop; one reader at a time.
  /// Ordering: as read_some().
  /// Throws:   end_of_stream; as read_some(). Then, too, what had come stays in the stream.
  void read_exactly(std::span<std::byte> to);
  void read_exactly(std::span<char> to) { read_exactly(std::as_writable_bytes(to)); }

  /// Reads up to and with `delimiter`, which is not empty. `limit` counts both.
  ///
  /// Suspends: a checkpoint always; switches when not all is there, else by turns.
  /// Cancel:   throws cancelled; nothing was read: what had come stays in the stream for the next read.
  /// Threads:  fibers of the stream's loop; one reader at a time.
  /// Ordering: as read_some().
  /// Throws:   line_too_long, end_of_stream; as read_some(). Then, too, what had come stays in the stream.
  std::string read_until(std::string_view delimiter, std::size_t limit = default_line_limit);

  /// The lines that come, up to the end of the stream: see line_range. `limit` counts the line's end, too.
  [[nodiscard]] line_range lines(std::size_t limit = default_line_limit) noexcept { return {*this, limit}; }

  // For parsers: a look at what has come, in place.

  /// What was received and not yet read. Valid until the next reading operation or move of the stream.
  [[nodiscard]] std::string_view buffered() const noexcept { return {buffer_.get() + begin_, end_ - begin_}; }

  /// Receives more, behind what is buffered. Gives the number of bytes; 0 at the end of the stream.
  ///
  /// Suspends: a checkpoint always; switches when nothing is there, else by turns.
  /// Cancel:   throws cancelled; nothing was received.
  /// Threads:  fibers of the stream's loop; one reader at a time.
  /// Ordering: as read_some().
  /// Throws:   line_too_long when `limit` bytes are buffered already; as read_some().
  std::size_t fill(std::size_t limit = default_fill_limit);

  /// Takes the first n bytes of buffered() out. Throws std::out_of_range when there are fewer.
  void consume(std::size_t n);

  // --- writing ---

  /// Writes as much as is taken at once, waiting when nothing is. Gives the number of bytes.
  ///
  /// Suspends: a checkpoint always; switches when the way is full, else by turns.
  /// Cancel:   throws cancelled; nothing was written.
  /// Threads:  fibers of the stream's loop; one writer at a time.
  /// Ordering: what the caller wrote is visible to the reader, where they share memory.
  /// Throws:   error, stream_closed, timed_out (see write_timeout()), wrong_loop, stream_busy.
  std::size_t write_some(std::span<const std::byte> from) { return write_some(std::span(&from, 1)); }
  /// Several pieces are gathered into one system call.
  std::size_t write_some(std::span<const std::span<const std::byte>> pieces);

  /// Writes all. Several pieces are gathered into one system call.
  ///
  /// Suspends: a checkpoint always; switches when the way is full, else by turns.
  /// Cancel:   throws cancelled; a beginning was written, as long as bytes_written() has grown.
  /// Threads:  fibers of the stream's loop; one writer at a time.
  /// Ordering: as write_some().
  /// Throws:   as write_some(); error::bytes() and bytes_written() tell how much was written.
  void write_all(std::span<const std::byte> from);
  void write_all(std::string_view text) { write_all(std::as_bytes(std::span(text))); }
  void write_all(std::span<const std::span<const std::byte>> pieces);
  void write_all(std::initializer_list<std::string_view> pieces);

  /// Tells the other side that nothing more will come; it reads the end of the stream. Reading goes on. (Over TLS it is
  /// a write, with write_timeout(): see tls.hpp.)
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  fibers of the stream's loop; no writer at the time.
  /// Ordering: after all that was written.
  /// Throws:   error, stream_closed, wrong_loop, stream_busy.
  void shutdown_write();

  // --- the rest ---

  /// Ends both halves at once. Fibers that wait in the stream get stream_closed. Closing again does nothing. Throws
  /// wrong_loop. A stream that is dropped is closed in the same way.
  ///
  /// What was written is still delivered to a reader, and then the end, by the system or in the background; what has
  /// come and was not read is thrown away. But TCP answers what comes after the close with a reset, and that drops what
  /// was not delivered by then. Where the other side may still be sending, use finish(). A descriptor that
  /// native_handle() has told of may be somebody else's, too: it is closed alone, and if anything was not read, that is
  /// such a reset. (What of this TLS adds: see tls.hpp.)
  void close();

  /// The end in good order: shutdown_write(), then reads on and throws away until the other side has ended, too, then
  /// close(). True when they did within `longest`: so they had all that was sent before. False when they did not, or
  /// the connection broke; it was closed all the same.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; the stream was closed.
  /// Threads:  fibers of the stream's loop; no reader and no writer at the time.
  /// Ordering: none.
  /// Throws:   stream_closed, wrong_loop, stream_busy.
  bool finish(std::chrono::nanoseconds longest = std::chrono::seconds(5));
  [[nodiscard]] bool is_open() const noexcept { return open_; }

  /// The longest that reading may wait for the next byte; a read_until() must be done within it as a whole, so that
  /// no client can hold it up byte by byte. Then the read throws timed_out; the stream is usable. At first: never.
  void read_timeout(std::chrono::nanoseconds d) noexcept { read_timeout(d, d); }
  /// `first` until the first byte has come, `later` from then on.
  void read_timeout(std::chrono::nanoseconds first, std::chrono::nanoseconds later) noexcept;
  /// The longest that writing may wait without a byte being taken. At first: never.
  void write_timeout(std::chrono::nanoseconds d) noexcept { write_timeout_ = d; }

  /// Bytes that came from and went to the transport so far.
  [[nodiscard]] std::uint64_t bytes_read() const noexcept { return bytes_read_; }
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return bytes_written_; }

  /// None when it is no IP socket.
  [[nodiscard]] endpoint peer() const { return carrier_ ? carrier_->peer() : endpoint(); }
  [[nodiscard]] endpoint local() const { return carrier_ ? carrier_->local() : endpoint(); }
  /// The other side, for people: "127.0.0.1:8080".
  [[nodiscard]] std::string describe() const { return carrier_ ? carrier_->describe() : "a closed stream"; }

  /// Gives the stream to another loop: move the object there too, and use it there only.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  fibers of the stream's loop, while nobody waits in it.
  /// Ordering: whatever carries the object to the other loop.
  /// Throws:   stream_busy, wrong_loop, stream_closed, std::out_of_range when there is no such loop.
  void move_to(unsigned loop);

  /// Gives the descriptor to the caller and closes the stream, but not the connection.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  fibers of the stream's loop, while nobody waits in it.
  /// Ordering: none.
  /// Throws:   error with ENOTSUP when the stream is no descriptor (memory, TLS), and is then as before; stream_busy,
  ///           wrong_loop, stream_closed.
  [[nodiscard]] detached_stream detach();

  /// The descriptor, for setsockopt(2) and the like; -1 for none. It stays the stream's.
  [[nodiscard]] int native_handle() noexcept { return carrier_ ? carrier_->native_handle() : -1; }

 private:
  friend class line_range;
  friend struct detail::stream_access;
  class turn;

  void check_loop() const;
  void check_open(const char* operation) const;
  void check_idle(const char* what) const noexcept;
  void take(stream& other) noexcept;
  [[nodiscard]] std::size_t receive(std::span<std::byte> to, wait_limit limit);
  std::size_t receive_more(wait_limit limit);
  std::size_t receive_more_in_line(wait_limit limit);
  [[nodiscard]] detail::socket_transport* as_socket() const noexcept;
  [[nodiscard]] bool may_have_some() const noexcept;
  std::optional<std::size_t> try_read(std::span<std::byte> to, std::span<std::byte> more);
  [[nodiscard]] std::size_t wait_for(std::string_view delimiter, std::size_t limit);
  std::size_t take_buffered(std::span<std::byte> to) noexcept;
  void put_back(std::span<const std::byte> bytes);
  void make_room(std::size_t at_first = 4096);
  [[nodiscard]] std::span<std::byte> room() noexcept;
  void received(std::size_t n) noexcept;
  void borrow();
  void settle();
  [[nodiscard]] bool lends() const noexcept;
  std::size_t send(std::span<const std::span<const std::byte>> pieces, std::uint64_t before);
  std::size_t send_in_line(std::span<const std::span<const std::byte>> pieces, std::uint64_t before);

  // Who may touch what:
  //   home_      written by the home loop in move_to(); read by any thread that uses the stream where it must not.
  //   the rest   fibers of the home loop, and whoever moves or destroys the object.
  std::atomic<std::uint32_t> home_{0};  ///< the loop's token
  bool open_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool tries_ = false;   // of the carrier
  bool socket_ = false;  // it is a detail::socket_transport
  bool filled_ = false;  // the last read filled what it was given
  bool exact_ = false;   // one that did was followed by one that found nothing
  bool large_ = false;   // the last fill brought more than is read before its fiber runs
  std::unique_ptr<transport> carrier_;
  std::unique_ptr<char[]> buffer_;  // what was received and not yet read is [begin_, end_)
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t capacity_ = 0;
  std::chrono::nanoseconds read_timeout_ = no_timeout;
  std::chrono::nanoseconds later_read_timeout_ = no_timeout;
  std::chrono::nanoseconds write_timeout_ = no_timeout;
  std::uint64_t bytes_read_ = 0;
  std::uint64_t bytes_written_ = 0;
};

}  // namespace weft::io
