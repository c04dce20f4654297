#pragma once
// Passing a request on to another server: what proxies are made of (RFC 9110, 7.6).
//
//   http::client behind(weft::io::endpoint::parse("127.0.0.1:8081"));
//   http::server server(listener, [&](http::request& r) { return http::forward(r, behind); });

#include <chrono>
#include <memory>
#include <string_view>

#include "http_kit/client.hpp"
#include "http_kit/headers.hpp"
#include "http_kit/request.hpp"
#include "http_kit/response.hpp"

namespace http {

/// Without the fields that are of one connection only (RFC 9110, 7.6.1), and those that say how a body is framed, which
/// server and client write themselves.
headers end_to_end(const headers& fields);

/// A WebSocket waits for what may not happen for long, and browsers send no pings: so the limits for requests are not
/// for it. What this is for is connections whose other side has gone without a word.
inline constexpr std::chrono::nanoseconds websocket_silence = std::chrono::minutes(10);

struct forward_options {
  std::string_view scheme = "http";       ///< how the client asked, for X-Forwarded-Proto
  std::shared_ptr<void> until_done = {};  ///< let go of when the answer has gone, or the WebSocket has ended
  std::chrono::nanoseconds silence = websocket_silence;  ///< on both ways of a WebSocket, that ends it
};

/// Sends the request on and gives the answer. Bodies stream both ways at the same time, a piece in memory each; so the
/// server's limits of the request's size and time are lifted: those of who answers hold. Added are X-Forwarded-For,
/// after what there was of it, X-Forwarded-Proto and Via.
///
/// A WebSocket passes, as bytes both ways, until either side ends it, or nothing has passed for `silence` (up to twice
/// as long), or while a side takes nothing for its connection's limit. Other upgrades do not pass: "h2c", say, would be
/// a way past all that a proxy checks. Nor does CONNECT.
///
/// Suspends: always.
/// Cancel:   throws cancelled; the connection to the server was closed.
/// Threads:  the fiber that serves the request.
/// Ordering: none.
/// Throws:   as client::send(): weft::io::error when the server is not there or went away, error 502 when it answered
///           with nonsense, 504 when it was too slow. Error 499 when the client went away, 501 for CONNECT; 400 and 408
///           for its body.
response forward(request& r, client& to, forward_options how = {});

/// Whether a request may be forwarded once more after that has failed: to do it twice is to do it once, and its body,
/// if any, is still to be had.
inline bool may_repeat(const request& r) { return is_idempotent(r.method) && !r.body_begun(); }

}  // namespace http
