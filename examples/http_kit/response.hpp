#pragma once
// What a server's handler gives.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <weft/io/stream.hpp>

#include "http_kit/function.hpp"
#include "http_kit/headers.hpp"
#include "http_kit/status.hpp"

namespace http {

/// Where a body is written piece by piece.
class body_writer {
 public:
  virtual ~body_writer() = default;

  /// Sends a piece, waiting while the client takes no more.
  ///
  /// Suspends: as weft::io::stream::write_all().
  /// Cancel:   throws cancelled; the response is cut off.
  /// Threads:  the fiber that serves the request.
  /// Ordering: none.
  /// Throws:   weft::io::error when the client has gone, weft::timed_out when it takes nothing; std::length_error for
  ///           more than response::length.
  virtual void write(std::string_view piece) = 0;

  /// Sends a part of a file: by sendfile(2) where the stream is a socket and response::length was set. As write();
  /// weft::io::error with ENODATA when the file has become shorter.
  virtual void write_file(int file, std::uint64_t offset, std::uint64_t count) = 0;

  /// Sleeps. False, and at once, when the server is stopping: the body ought to end.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled.
  /// Threads:  the fiber that serves the request.
  /// Ordering: none.
  virtual bool pause(std::chrono::nanoseconds time) = 0;
};

/// A status, fields and a body. The server adds Date, Content-Length or Transfer-Encoding, and Connection.
struct response {
  response(status s = status::ok) : code(s) {}
  response(status s, std::string_view type, std::string text) : code(s), body(std::move(text)) {
    fields.add("Content-Type", type);
  }

  status code;
  headers fields;
  std::string body;

  /// If set, it is called with the header sent, while the request is still there, to write a body instead of `body`.
  /// It goes in chunks, or with a Content-Length when `length` is set. What it throws cuts the response off, so that
  /// the client notices.
  function<void(body_writer&)> stream;
  std::optional<std::uint64_t> length;

  /// If set, nothing but this happens: the connection is no longer HTTP, and ends when it returns (WebSocket).
  /// What came behind the request is in the stream's buffer.
  function<void(weft::io::stream)> take_over;

  [[nodiscard]] response&& with(std::string_view name, std::string_view value) && {
    fields.set(name, value);
    return std::move(*this);
  }
};

inline response text(std::string body, status code = status::ok) {
  return {code, "text/plain; charset=utf-8", std::move(body)};
}
inline response html(std::string body, status code = status::ok) {
  return {code, "text/html; charset=utf-8", std::move(body)};
}
inline response json(std::string body, status code = status::ok) { return {code, "application/json", std::move(body)}; }
inline response redirect(std::string_view to, status code = status::see_other) {
  return response(code).with("Location", to);
}
/// A body that f(body_writer&) writes.
template <class F>
response streamed(std::string_view type, F&& f, std::optional<std::uint64_t> length = std::nullopt) {
  response r(status::ok, type, {});
  r.stream = std::forward<F>(f);
  r.length = length;
  return r;
}

/// Server-sent events (WHATWG HTML, 9.2).
class event_writer {
 public:
  explicit event_writer(body_writer& to) noexcept : to_(to) {}
  /// Sends an event; lines of `data` may be many. Throws std::invalid_argument when `name` or `id` is more than one.
  void send(std::string_view data, std::string_view name = {}, std::string_view id = {});
  /// Sends what clients skip, so that a dead connection is noticed.
  void keep_alive() { to_.write(":\n\n"); }
  /// As body_writer::pause().
  bool pause(std::chrono::nanoseconds time) { return to_.pause(time); }

 private:
  body_writer& to_;
};

/// Events that f(event_writer&) sends until it returns.
template <class F>
response events(F f) {
  return streamed("text/event-stream",
                  [f = std::move(f)](body_writer& to) mutable {
                    event_writer events(to);
                    f(events);
                  })
      .with("Cache-Control", "no-store");
}

}  // namespace http
