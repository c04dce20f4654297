#pragma once
// An HTTP/1.1 client with connections that are kept, on weft's streams.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <weft/io/endpoint.hpp>
#include <weft/io/stream.hpp>

#include "http_kit/function.hpp"
#include "http_kit/headers.hpp"
#include "http_kit/response.hpp"
#include "http_kit/status.hpp"

namespace http {

/// A request to be sent. The client adds Host, unless it is there, and Content-Length or Transfer-Encoding.
struct call {
  std::string method = "GET";
  std::string target = "/";
  headers fields = {};
  std::string body = {};
  /// If set, it writes the body, in a fiber of its own, so that the answer may come before the body has gone.
  function<void(body_writer&)> stream = {};
  std::optional<std::uint64_t> length = {};  ///< of what `stream` writes; else it goes in chunks
};

struct client_options {
  std::string host = {};                                        ///< in Host; empty: the endpoint
  std::size_t kept = 32;                                        ///< idle connections that each loop keeps
  std::chrono::nanoseconds keep = std::chrono::seconds(30);     ///< for how long
  std::size_t header = 64 * 1024;                               ///< bytes of an answer's
  std::chrono::nanoseconds connect = std::chrono::seconds(10);  ///< the longest it may take
  std::chrono::nanoseconds answer = std::chrono::seconds(30);   ///< from a request's end to the end of the header
  std::chrono::nanoseconds idle = std::chrono::seconds(60);     ///< from byte to byte; and without a byte taken
  /// Called on each new connection, if set: with TLS it is tls_connect().
  std::function<weft::io::stream(weft::io::stream)> secure = {};
};

/// What came back: the header, and a body to be read. Belongs to the loop it was made on. Once its body was read to the
/// end its connection is kept for others; destroyed before that, it closes the connection.
class answer {
 public:
  status code{};
  headers fields;

  answer(answer&&) noexcept;
  answer& operator=(answer&&) noexcept;
  ~answer();

  /// Content-Length; none when nobody knows.
  [[nodiscard]] std::optional<std::uint64_t> length() const noexcept { return length_; }

  /// Reads a piece of the body, waiting when nothing is there. Gives the number of bytes; 0 at the end.
  ///
  /// Suspends: as weft::io::stream::read_some().
  /// Cancel:   throws cancelled; nothing was read.
  /// Threads:  fibers of the answer's loop; one at a time.
  /// Ordering: none.
  /// Throws:   error 502 or 504, for an answer that is none, or late; weft::io::error; what call::stream threw.
  std::size_t read_some(std::span<char> to);
  /// What is left of it. As read_some(); error 502 for more than `most` bytes.
  std::string body(std::uint64_t most = 64 * 1024 * 1024);

  /// After status 101: the connection, which is no longer HTTP.
  weft::io::stream take_over();

 private:
  friend class client;
  struct exchange;
  explicit answer(std::unique_ptr<exchange> e) noexcept;
  std::unique_ptr<exchange> exchange_;
  std::optional<std::uint64_t> length_;
};

/// Calls one server. A handle; each loop keeps connections of its own. Any loop.
class client {
 public:
  explicit client(weft::io::endpoint to, client_options most = {});
  /// Connections come out of `connect`, on the loop that needs one.
  explicit client(std::function<weft::io::stream()> connect, client_options most = {});

  /// Sends a request and waits for the answer's header. A kept connection that the server has meanwhile closed is no
  /// error: the request is sent once more on a new one, if it can be (RFC 9110, 9.2.2) and its body is a string.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; the connection was closed.
  /// Threads:  fibers.
  /// Ordering: none.
  /// Throws:   error 502 or 504, for an answer that is none, or late; weft::io::error; what call::stream threw;
  ///           std::invalid_argument for a method or target that would be another request.
  answer send(call what);

  /// How many connections this loop keeps.
  [[nodiscard]] std::size_t kept() const;

 private:
  friend class answer;
  struct state;
  std::shared_ptr<state> state_;
};

/// GETs a page over a connection of its own. Throws weft::timed_out; as client::send().
response fetch(const weft::io::endpoint& from, std::string_view target,
               std::chrono::nanoseconds limit = std::chrono::seconds(10));

/// Whether doing it twice is doing it once (RFC 9110, 9.2.2).
bool is_idempotent(std::string_view method) noexcept;

}  // namespace http
