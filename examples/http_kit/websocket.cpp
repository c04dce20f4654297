#include "http_kit/websocket.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <mutex>
#include <system_error>
#include <utility>

#include <weft/io/boost_stream.hpp>
#include <weft/io/error.hpp>
#include <weft/mutex.hpp>

namespace http {

namespace beast = boost::beast;

namespace {

/// Beast sends each frame with one call, also the pong that read() answers a ping with. Here such a call sends all of
/// it under a lock, so frames of several fibers do not mix.
class frame_stream : public weft::io::boost_stream {
 public:
  using boost_stream::boost_stream;

  /// Silence is answered with a ping, and only silence after that is an error.
  template <class Buffers>
  std::size_t read_some(const Buffers& to, error_code& e) {
    const std::size_t n = boost_stream::read_some(to, e);
    if (e != boost::asio::error::timed_out) return n;
    static constexpr char ping[] = {'\x89', '\x00'};
    write_some(boost::asio::buffer(ping), e);
    return e ? 0 : boost_stream::read_some(to, e);
  }
  template <class Buffers>
  std::size_t read_some(const Buffers& to) {
    error_code e;
    const std::size_t n = read_some(to, e);
    if (e) throw boost::system::system_error(e);
    return n;
  }

  template <class Buffers>
  std::size_t write_some(const Buffers& from) {
    error_code e;
    const std::size_t n = write_some(from, e);
    if (e) throw boost::system::system_error(e);
    return n;
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& from, error_code& e) {
    const std::lock_guard lock(*frames_);
    return boost::asio::write(static_cast<weft::io::boost_stream&>(*this), from, e);
  }

  friend void teardown(beast::role_type role, frame_stream& s, error_code& e) {
    teardown(role, static_cast<weft::io::boost_stream&>(s), e);
  }

 private:
  std::unique_ptr<weft::mutex> frames_ = std::make_unique<weft::mutex>();
};

}  // namespace

struct websocket::state {
  explicit state(weft::io::stream s) : ws(std::move(s)) {}
  beast::websocket::stream<frame_stream, false> ws;  // without compression
  beast::flat_buffer buffer;
};

websocket::websocket(weft::io::stream over, const request& r, const websocket_options& most)
    : state_(std::make_unique<state>(std::move(over))) {
  auto& ws = state_->ws;
  ws.next_layer().read_timeout(most.idle / 2);
  ws.next_layer().write_timeout(most.stall);
  ws.read_message_max(most.message);
  ws.text(true);
  beast::http::request<beast::http::empty_body> asked(beast::http::verb::get, {r.target.data(), r.target.size()}, 11);
  for (const auto& [name, value] : r.fields) asked.insert({name.data(), name.size()}, {value.data(), value.size()});
  ws.accept(asked);
}

websocket::~websocket() = default;

std::optional<std::string> websocket::read() {
  auto& [ws, buffer] = *state_;
  beast::error_code e;
  ws.read(buffer, e);
  if (e) return std::nullopt;
  std::string message(static_cast<const char*>(buffer.data().data()), buffer.size());
  buffer.clear();
  return message;
}

void websocket::write(std::string_view text) {
  beast::error_code e;
  state_->ws.write(boost::asio::buffer(text.data(), text.size()), e);
  if (e) throw weft::io::error(std::error_code(e.value(), std::system_category()), "write to", "a WebSocket");
}

void websocket::close() {
  // The frame alone: read() sees to the rest.
  static constexpr char going_away[] = {'\x88', '\x02', '\x03', '\xe9'};  // RFC 6455, 5.5.1: 1001
  beast::error_code e;
  state_->ws.next_layer().write_some(boost::asio::buffer(going_away), e);
}

response websocket_response(request& r, function<void(websocket&)> f, websocket_options most) {
  if (!r.fields.lists("Upgrade", "websocket") || !r.fields.lists("Connection", "upgrade"))
    throw error(status::upgrade_required, "a WebSocket is spoken here").with("Upgrade", "websocket");
  if (r.method != "GET" || r.version != 11 || !r.field("Sec-WebSocket-Key") || r.field("Sec-WebSocket-Version") != "13")
    throw error(status::bad_request, "no WebSocket of version 13").with("Sec-WebSocket-Version", "13");
  response answer(status::switching_protocols);
  answer.take_over = [&r, f = std::move(f), most](weft::io::stream s) mutable {
    websocket with(std::move(s), r, most);
    f(with);
  };
  return answer;
}

}  // namespace http
