#pragma once
// What a server's handler is given.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/io/endpoint.hpp>

#include "http_kit/headers.hpp"
#include "http_kit/status.hpp"
#include "http_kit/target.hpp"

namespace http {

/// Where the rest of a message comes from: its body.
class body_source {
 public:
  virtual ~body_source() = default;
  /// Waits for bytes; gives how many, 0 at the end of the body. `to` is not empty.
  virtual std::size_t read_some(std::span<char> to) = 0;
  virtual void limit(std::uint64_t bytes, std::optional<std::chrono::nanoseconds> time) = 0;
  [[nodiscard]] virtual std::optional<std::uint64_t> length() const = 0;
  /// Waits until nothing more can come from the client.
  virtual void wait_until_gone() { throw std::logic_error("http: nobody to be watched"); }
};

class request {
 public:
  std::string method;  ///< "GET"
  std::string target;  ///< "/files/a%20b?size=3", as sent
  int version = 11;    ///< 11 or 10, for HTTP/1.1 or 1.0
  headers fields;
  weft::io::endpoint peer;  ///< none when the connection is no IP socket

  [[nodiscard]] std::optional<std::string_view> field(std::string_view name) const noexcept { return fields.get(name); }

  /// "/files/a%20b", as sent: a router decodes it segment by segment.
  [[nodiscard]] std::string_view path() const noexcept { return path_of(target); }
  /// "3" for "size", decoded. None when it is not there, or not to be decoded.
  [[nodiscard]] std::optional<std::string> query(std::string_view name) const {
    return value_in(query_of(target), name);
  }
  /// The same as a number. None when it is no such number, too.
  template <class T>
  [[nodiscard]] std::optional<T> query(std::string_view name) const {
    const auto text = query(name);
    return text ? number_in<T>(*text) : std::nullopt;
  }
  /// What stands in the path where the route has "{name}", decoded. Throws std::out_of_range when the route has none.
  [[nodiscard]] const std::string& parameter(std::string_view name) const;
  /// For routers.
  std::vector<std::pair<std::string_view, std::string>> parameters;

  // The body. It is read as it is asked for; what a handler leaves, the server skips. A client that waits for
  // "100 Continue" gets it at the first read, and so does not send what a handler refuses.

  /// Content-Length; none when the body comes in chunks. 0 when there is no body.
  [[nodiscard]] std::optional<std::uint64_t> length() const { return source_ ? source_->length() : 0; }

  /// For this request, instead of options::body; `time` counts from now, instead of options::receive.
  void body_limit(std::uint64_t bytes, std::optional<std::chrono::nanoseconds> time = std::nullopt) {
    if (source_) source_->limit(bytes, time);
  }

  /// Reads a piece of it, waiting when nothing is there. Gives the number of bytes; 0 at the end.
  ///
  /// Suspends: as weft::io::stream::read_some().
  /// Cancel:   throws cancelled; nothing was read.
  /// Threads:  fibers of the connection's loop; one at a time.
  /// Ordering: none.
  /// Throws:   error 400, 408 or 413, which a handler lets through; weft::io::error.
  std::size_t read_some(std::span<char> to) {
    body_begun_ = true;
    return source_ && !to.empty() ? source_->read_some(to) : 0;
  }

  /// All of it; once it was read, again. As read_some().
  const std::string& body();

  /// Somebody has begun to read it: so it can no longer be had from its beginning.
  [[nodiscard]] bool body_begun() const noexcept { return body_begun_; }

  /// Waits until the client has ended the connection, or its half of it: a client that wants its answer stays. See
  /// while_connected.hpp.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; nothing is lost of a next request.
  /// Threads:  fibers of the connection's loop, while nobody reads; once the body was read.
  /// Ordering: none.
  /// Throws:   std::logic_error when the body was not read.
  void wait_until_gone();

  /// For servers: the next request, with this body.
  void begin(body_source* source) noexcept;
  /// For tests: a body that is there.
  void set_body(std::string text);

 private:
  body_source* source_ = nullptr;
  bool body_begun_ = false;
  std::optional<std::string> body_;
};

}  // namespace http
