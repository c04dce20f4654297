#pragma once
// A small HTTP/1.1 kit on weft's streams: a server that calls a function for each request, and fetch(). Its messages
// are Boost.Beast's. To lift it out take http.hpp and http.cpp; they need weft::weft and Boost's headers.

#include <atomic>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <weft/io/serve.hpp>
#include <weft/io/tcp.hpp>

namespace http {

using boost::beast::http::field;
using boost::beast::http::status;
using boost::beast::http::verb;
using request = boost::beast::http::request<boost::beast::http::string_body>;
using response = boost::beast::http::response<boost::beast::http::string_body>;

/// A response with a body. The server adds Date, Content-Length and Connection.
response reply(status code, std::string_view type, std::string body);

/// "/a" of "/a?b=c".
std::string_view path(const request& r);
/// "c" of "/a?b=c", as sent: percent signs are not decoded.
std::optional<std::string_view> query(const request& r, std::string_view name);

/// What a server puts up with.
struct limits {
  std::uint32_t header = 8 * 1024;                              ///< bytes; more is answered 431
  std::uint64_t body = 1024 * 1024;                             ///< bytes; more is answered 413
  std::chrono::nanoseconds receive = std::chrono::seconds(30);  ///< from a request's first byte to its last; then 408
  weft::io::serve_options connections = {};                     ///< how many, how silent, and the grace of a drain
};

struct server_report {
  std::uint64_t connections = 0;
  std::uint64_t answered = 0;
  std::uint64_t refused = 0;  ///< no request, or one beyond the limits
  std::uint64_t cut_off = 0;  ///< not answered: the client went away, or a drain had no grace left
};

/// Sees to keep-alive, pipelining and HEAD. What a client does wrong costs it its connection, and nobody else anything.
class server {
 public:
  /// Called for each request, in the fiber of its connection; on several loops at once. What it throws is answered 500
  /// and goes to limits::connections.on_error.
  using handler = std::function<response(const request&)>;

  server(weft::io::listener source, handler answer, limits most = {});

  /// Serves until stop(), and then until requests in flight are answered. Waits and throws as io::server::run().
  void run() { connections_.run(); }
  /// Has run() accept no more, close the idle connections and return. Waits until each loop has closed its idle ones.
  void stop();

  [[nodiscard]] server_report report() const;
  [[nodiscard]] weft::io::endpoint local() const { return connections_.local(); }

 private:
  struct connection {
    weft::io::stream stream;
    bool idle = false;  ///< waits for a request to begin
  };
  // Who may touch what:
  //   connections  fibers of the loop of that index.
  //   the counts   written by that loop, read by any thread.
  struct alignas(64) loop_share {
    std::list<connection*> connections;
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> answered{0};
    std::atomic<std::uint64_t> refused{0};
  };

  void serve(weft::io::stream client);
  bool serve_one(connection& client);
  std::optional<request> read_request(connection& client);
  void write_response(connection& client, const response& r, bool keep_alive, bool with_body = true);
  void refuse(connection& client, status code, std::string_view why);

  const handler answer_;
  const limits most_;
  std::atomic<bool> stopping_{false};
  std::vector<loop_share> loops_;
  weft::io::server connections_;  // last: its handler uses the others
};

/// GETs a page over a connection of its own. Throws weft::timed_out, weft::io::error, and std::runtime_error for an
/// answer that is no HTTP.
response fetch(const weft::io::endpoint& from, std::string_view target,
               std::chrono::nanoseconds limit = std::chrono::seconds(10));

}  // namespace http
