#pragma once
// io::stream for code that was written for Boost.Asio's blocking sockets, Boost.Beast among it.
//
//   weft::io::boost_stream s(weft::io::connect("example.org", 80));  // was: a tcp::socket or beast::tcp_stream
//   beast::http::write(s, request);                                  // as before; but a fiber waits, not a thread
//   beast::websocket::stream<weft::io::boost_stream> ws(std::move(s));
//
// Only what blocks: http::read, write and their kin, and of a websocket::stream the functions without async_. Time
// limits are the stream's, read_timeout() and write_timeout(), or weft::timeout(). Errors: see sync_stream.hpp.
//
// This header includes Boost.Asio, which is the program's to supply, so weft/io.hpp leaves it out.

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <map>
#include <mutex>
#include <string>
#include <system_error>

#include "weft/io/sync_stream.hpp"

namespace weft::io {

namespace detail {

/// A category of the standard library as one of Boost's, which cannot make one itself before 1.78.
class boost_category final : public boost::system::error_category {
 public:
  explicit boost_category(const std::error_category& same) noexcept : same_(&same) {}
  [[nodiscard]] const char* name() const noexcept override { return same_->name(); }
  [[nodiscard]] std::string message(int code) const override { return same_->message(code); }

  /// The only one of its kind, for good. Any thread.
  static const boost_category& of(const std::error_category& same) {
    static std::mutex mutex;
    static auto* const all = new std::map<const std::error_category*, boost_category>;
    const std::lock_guard lock(mutex);
    return all->try_emplace(&same, same).first->second;
  }

 private:
  const std::error_category* same_;
};

struct boost_errors {
  using error_code = boost::system::error_code;
  using system_error = boost::system::system_error;
  static error_code eof() noexcept { return boost::asio::error::make_error_code(boost::asio::error::eof); }
  static error_code timed_out() noexcept { return boost::asio::error::make_error_code(boost::asio::error::timed_out); }
  static error_code closed() noexcept {
    return boost::asio::error::make_error_code(boost::asio::error::bad_descriptor);
  }
  static error_code aborted() noexcept {
    return boost::asio::error::make_error_code(boost::asio::error::operation_aborted);
  }
  static error_code same(const std::error_code& code) {
    if (code.category() == std::system_category()) return {code.value(), boost::asio::error::get_system_category()};
    return {code.value(), boost_category::of(code.category())};
  }
};

}  // namespace detail

class boost_stream : public basic_sync_stream<detail::boost_errors> {
 public:
  using basic_sync_stream::basic_sync_stream;
  using executor_type = boost::asio::io_context::executor_type;

  /// For Beast, which wants an executor for timers that its blocking functions never start: of an io_context that
  /// nobody runs.
  [[nodiscard]] executor_type get_executor() const noexcept {
    static boost::asio::io_context never_run;
    return never_run.get_executor();
  }

  /// How Beast ends a connection when its WebSocket was closed: a server ends it first (RFC 6455, 7.1.1), and both wait
  /// for the other side to end it too, for as long as read_timeout() allows, before they close it.
  ///
  /// Suspends: a checkpoint always; switches until the other side has ended the connection.
  /// Cancel:   throws cancelled; the stream is open.
  /// Threads:  fibers of the stream's loop; nobody reads or writes.
  /// Ordering: after all that was written.
  /// Throws:   wrong_loop, stream_busy.
  friend void teardown(boost::beast::role_type role, boost_stream& s, error_code& e) {
    e = {};
    try {
      if (role == boost::beast::role_type::server) s.shutdown_write();
    } catch (const error& what) {
      if (what.code() != std::errc::not_connected) e = detail::boost_errors::same(what.code());
    } catch (const timed_out&) {
      e = detail::boost_errors::timed_out();
    } catch (const stream_closed&) {
      e = detail::boost_errors::closed();
    }
    char rest[1024];
    while (!e) s.read_some(boost::asio::mutable_buffer(rest, sizeof(rest)), e);
    if (e == boost::asio::error::eof) e = {};
    s.close();
  }
  /// Beast's close_socket().
  friend void beast_close_socket(boost_stream& s) { s.close(); }
};

}  // namespace weft::io
