#pragma once
// WebSocket (RFC 6455) for a server's routes:
//
//   routes.get("/chat", [](http::request& r) {
//     return http::websocket_response(r, [](http::websocket& with) {
//       while (auto message = with.read()) with.write(*message);
//     });
//   });
//
// Boost.Beast speaks it; only websocket.cpp includes that.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <weft/io/stream.hpp>

#include "http_kit/function.hpp"
#include "http_kit/request.hpp"
#include "http_kit/response.hpp"

namespace http {

struct websocket_options {
  std::size_t message = 64 * 1024;                            ///< bytes; more ends the connection
  std::chrono::nanoseconds idle = std::chrono::seconds(60);   ///< silence, in spite of a ping after half of it
  std::chrono::nanoseconds stall = std::chrono::seconds(10);  ///< without a byte taken
};

/// One fiber may read while others write.
class websocket {
 public:
  websocket(weft::io::stream over, const request& r, const websocket_options& most);
  ~websocket();
  websocket(const websocket&) = delete;
  websocket& operator=(const websocket&) = delete;

  /// Waits for a message, text or binary. None when the other side has ended the connection, in order or not, has said
  /// nothing for too long, or too much at once. Pings are answered here.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; the connection is of no more use.
  /// Threads:  fibers of the connection's loop; one at a time.
  /// Ordering: none.
  std::optional<std::string> read();

  /// Sends a text.
  ///
  /// Suspends: a checkpoint always.
  /// Cancel:   throws cancelled; the connection is of no more use.
  /// Threads:  fibers of the connection's loop.
  /// Ordering: in the order of the calls.
  /// Throws:   weft::io::error when the connection is gone or stalls.
  void write(std::string_view text);

  /// Says that it ends ("going away"). read() then gives none, once the other side has agreed.
  void close();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// Shakes hands, and calls f(websocket&). The connection ends when that returns. Throws error 426 or 400 when the
/// request asks for no WebSocket.
response websocket_response(request& r, function<void(websocket&)> f, websocket_options most = {});

}  // namespace http
