#pragma once
// An HTTP/1.1 server on weft's streams (RFC 9110, RFC 9112).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <weft/io/listener.hpp>
#include <weft/io/serve.hpp>
#include <weft/io/stream.hpp>
#include <weft/io/tcp.hpp>

#include "http_kit/request.hpp"
#include "http_kit/response.hpp"
#include "http_kit/router.hpp"

namespace http {

/// What a server has done with a request, for an access log. `what` is as far as it was read: a method that is empty
/// means that there was none.
struct access {
  const request& what;
  status code;
  std::uint64_t sent;             ///< bytes, header and all
  std::chrono::nanoseconds took;  ///< from the end of the request's header to the end of the response
};

/// What a server puts up with, and more. The defaults survive the open internet.
struct options {
  std::size_t header = 8 * 1024;                                ///< bytes; more is answered 414 or 431
  std::uint64_t body = 1024 * 1024;                             ///< bytes; more is answered 413: request::body_limit()
  std::chrono::nanoseconds receive = std::chrono::seconds(30);  ///< from a request's first byte to its last; then 408
  weft::io::serve_options connections = {};                     ///< how many, how silent, and the grace of a drain

  /// Called on each connection first, if set: with TLS it is tls_accept().
  std::function<weft::io::stream(weft::io::stream)> secure = {};
  /// Called after each response, on its loop, if set. Must not wait: see access_log.hpp.
  std::function<void(const access&)> log = {};
};

struct server_report {
  std::uint64_t connections = 0;
  std::uint64_t answered = 0;
  std::uint64_t refused = 0;  ///< no request, or one beyond the limits
  std::uint64_t cut_off = 0;  ///< not answered: the client went away, or a drain had no grace left
};
/// "4711 requests answered on 64 connections, 0 refused, 0 cut off"
std::string to_string(const server_report& r);

/// Sees to keep-alive, pipelining, HEAD, "100 Continue" and framing. What a client does wrong costs it its connection,
/// and nobody else anything. What a handler throws is the answer when it is http::error; else it is answered 500, ends
/// the connection and goes to options::connections.on_error.
class server {
 public:
  server(weft::io::listener source, handler answer, options most = {});
  ~server();

  /// Serves until stop(), and then until requests in flight are answered. Waits and throws as weft::io::server::run().
  void run();
  /// Has run() accept no more, close the idle connections and return. Waits until each loop has closed its idle ones.
  void stop();

  /// So far. Any thread.
  [[nodiscard]] server_report report() const;
  [[nodiscard]] weft::io::endpoint local() const;

 private:
  struct state;
  struct connection;
  std::unique_ptr<state> state_;
};

}  // namespace http
