#pragma once
// io::stream for code that was written for Asio's blocking sockets: its SyncReadStream and SyncWriteStream.
//
//   weft::io::asio_stream s(weft::io::connect("example.org", 80));  // was: tcp::socket s(context); asio::connect(s,
//   ...) asio::write(s, asio::buffer(request));                          // as before; but a fiber waits, not a thread
//   asio::read_until(s, buffer, "\r\n");
//
// What reads and writes with an error_code& give, here and in boost_stream:
//   the end of the stream              error::eof
//   read_timeout(), write_timeout()    error::timed_out
//   closed on this side                error::bad_descriptor; error::operation_aborted for who waited
//   the system's errors, TLS's, others as they are
// A cancellation is no error of the stream: `cancelled` is thrown, also by the forms with error_code&, and so are
// wrong_loop and stream_busy.
//
// This header includes Asio, so weft/io.hpp leaves it out.

#include <array>
#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/system_error.hpp>
#include <concepts>
#include <cstddef>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

#include "weft/error.hpp"
#include "weft/io/error.hpp"
#include "weft/io/stream.hpp"

namespace weft::io {

namespace detail {

/// What a library calls the ends of a stream; one more is in boost_stream.hpp.
struct asio_errors {
  using error_code = asio::error_code;
  using system_error = asio::system_error;
  static error_code eof() noexcept { return asio::error::make_error_code(asio::error::eof); }
  static error_code timed_out() noexcept { return asio::error::make_error_code(asio::error::timed_out); }
  static error_code closed() noexcept { return asio::error::make_error_code(asio::error::bad_descriptor); }
  static error_code aborted() noexcept { return asio::error::make_error_code(asio::error::operation_aborted); }
  static error_code same(const std::error_code& code) noexcept {
    return code.category() == std::system_category() ? error_code(code.value(), asio::error::get_system_category())
                                                     : code;
  }
};

/// A buffer of Asio's or Boost's: untyped memory.
template <class B>
concept buffer_like = requires(const B& b) {
  { static_cast<const volatile void*>(b.data()) };
  requires std::is_void_v<std::remove_pointer_t<decltype(b.data())>>;
  { b.size() } -> std::convertible_to<std::size_t>;
};
/// One buffer, or several.
template <class B>
concept buffers_like = buffer_like<B> || requires(const B& b) {
  { b.begin() != b.end() };
  requires buffer_like<std::remove_cvref_t<decltype(*b.begin())>>;
};

/// The first buffers that hold something, as many as fit. Gives how many.
template <class Byte, class Buffers, std::size_t N>
std::size_t pieces_of(const Buffers& buffers, std::array<std::span<Byte>, N>& to) {
  std::size_t count = 0;
  const auto add = [&](const auto& b) {
    if (b.size() > 0) to[count++] = std::span<Byte>(static_cast<Byte*>(b.data()), b.size());
  };
  if constexpr (buffer_like<Buffers>)
    add(buffers);
  else
    for (auto i = buffers.begin(), end = buffers.end(); i != end && count < N; ++i) add(*i);
  return count;
}

}  // namespace detail

/// A stream that also has the blocking functions of a library whose `Errors` these are.
template <class Errors>
class basic_sync_stream : public stream {
 public:
  using error_code = typename Errors::error_code;

  basic_sync_stream() noexcept = default;
  basic_sync_stream(stream&& s) noexcept : stream(std::move(s)) {}

  using stream::read_some;
  using stream::write_some;

  /// Reads what is there into the first buffer that is not empty, waiting when nothing is.
  ///
  /// Suspends: a checkpoint always; switches when nothing is there, else by turns, as stream does.
  /// Cancel:   throws cancelled; nothing was read.
  /// Threads:  fibers of the stream's loop; one reader at a time.
  /// Ordering: as stream::read_some().
  /// Throws:   Errors::system_error, also for the end of the stream; wrong_loop, stream_busy.
  template <detail::buffers_like Buffers>
  std::size_t read_some(const Buffers& to) {
    error_code e;
    const std::size_t n = read_some(to, e);
    if (e) throw typename Errors::system_error(e, "read_some");
    return n;
  }
  template <detail::buffers_like Buffers>
  std::size_t read_some(const Buffers& to, error_code& e) {
    std::array<std::span<std::byte>, 1> first;
    const bool some = detail::pieces_of(to, first) > 0;
    return attempt(e, [&] {
      const std::size_t n = stream::read_some(first[0]);
      if (n == 0 && some) e = Errors::eof();
      return n;
    });
  }

  /// Writes as much as is taken at once, waiting when nothing is.
  ///
  /// Suspends: a checkpoint always; switches when the way is full, else by turns, as stream does.
  /// Cancel:   throws cancelled; nothing was written.
  /// Threads:  fibers of the stream's loop; one writer at a time.
  /// Ordering: as stream::write_some().
  /// Throws:   Errors::system_error; wrong_loop, stream_busy.
  template <detail::buffers_like Buffers>
  std::size_t write_some(const Buffers& from) {
    error_code e;
    const std::size_t n = write_some(from, e);
    if (e) throw typename Errors::system_error(e, "write_some");
    return n;
  }
  template <detail::buffers_like Buffers>
  std::size_t write_some(const Buffers& from, error_code& e) {
    std::array<std::span<const std::byte>, 16> pieces;
    const std::size_t count = detail::pieces_of(from, pieces);
    return attempt(
        e, [&] { return stream::write_some(std::span<const std::span<const std::byte>>(pieces.data(), count)); });
  }

 private:
  template <class F>
  std::size_t attempt(error_code& e, F f) {
    e = {};
    const bool was_open = is_open();
    try {
      return f();
    } catch (const stream_closed&) {
      e = was_open ? Errors::aborted() : Errors::closed();
    } catch (const timed_out&) {
      e = Errors::timed_out();
    } catch (const error& what) {
      e = Errors::same(what.code());
    }
    return 0;
  }
};

/// For standalone Asio.
using asio_stream = basic_sync_stream<detail::asio_errors>;

}  // namespace weft::io
