#include "http.hpp"

#include <poll.h>

#include <algorithm>
#include <boost/beast/http/parser.hpp>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <utility>

#include <weft/gather.hpp>
#include <weft/loop.hpp>
#include <weft/spawn.hpp>
#include <weft/timeout.hpp>

namespace http {

namespace {

// Boost.Beast's parser, not http-parser 2.9.4: that one is no longer maintained, leaves chunks and limits to its user,
// and is slower (a small request takes it 0.22 us with its headers kept, Beast 0.17 us; a browser's 1.2 and 0.9 us).
namespace beast = boost::beast::http;
using namespace std::chrono_literals;

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

/// A message that is not to be had, and what to say about it.
class refused : public std::runtime_error {
 public:
  refused(status code, const std::string& why) : std::runtime_error(why), code_(code) {}
  explicit refused(boost::beast::error_code why) : refused(code_for(why), why.message()) {}
  [[nodiscard]] status code() const noexcept { return code_; }

 private:
  static status code_for(boost::beast::error_code why) {
    if (why == beast::error::header_limit) return status::request_header_fields_too_large;
    if (why == beast::error::body_limit) return status::payload_too_large;
    return status::bad_request;
  }
  status code_;
};

/// Reads one message from a stream; what lies behind it stays there.
template <bool is_request>
class reader {
 public:
  reader(weft::io::stream& from, std::uint32_t header_limit, std::uint64_t body_limit)
      : from_(from), header_left_(header_limit) {
    parser_.header_limit(header_limit);
    parser_.body_limit(body_limit);
  }

  /// Parses what has come. True when the message is complete. Throws refused.
  bool parse() {
    while (!parser_.is_done() && !from_.buffered().empty()) {
      const bool in_header = !parser_.is_header_done();
      const std::string_view bytes = from_.buffered();
      boost::beast::error_code error;
      const std::size_t used = parser_.put({bytes.data(), bytes.size()}, error);
      from_.consume(used);
      // Beast limits what it is given at once, but takes a header field by field: the sum is ours to limit.
      if (in_header && used > header_left_) throw refused(beast::error::header_limit);
      if (in_header) header_left_ -= used;
      if (error == beast::error::need_more) return false;
      if (error) throw refused(error);
    }
    return parser_.is_done();
  }

  /// Waits for the rest.
  void finish() {
    while (!parse()) {
      if (from_.fill() != 0) continue;
      boost::beast::error_code error = beast::error::end_of_stream;
      if (parser_.got_some()) parser_.put_eof(error);
      if (error) throw refused(error);
    }
  }

  auto take() { return parser_.release(); }
  [[nodiscard]] bool chunked() const { return parser_.chunked(); }

 private:
  weft::io::stream& from_;
  std::size_t header_left_;
  beast::parser<is_request, beast::string_body> parser_;
};

/// What Beast leaves to us, so that nobody between the client and us can be made to see other requests than we do.
void check_framing(const request& r, bool chunked) {
  const bool is_11 = r.version() == 11;
  if (r.count(field::transfer_encoding) != 0 && !(is_11 && chunked))
    throw refused(status::bad_request, "this transfer encoding is not understood");
  if (r.count(field::host) > 1 || (is_11 && r.count(field::host) == 0))
    throw refused(status::bad_request, "a request names one host");
}

/// Ends our half and reads on until the client ends its own: a socket closed with bytes unread resets the connection,
/// and the client may lose our last words (RFC 9112, 9.6).
void linger(weft::io::stream& s) {
  s.shutdown_write();
  weft::move_on_after(1s, [&] {
    do s.consume(s.buffered().size());
    while (s.fill() != 0);
  });
}

bool has_arrived(weft::io::stream& s) {
  pollfd socket{.fd = s.native_handle(), .events = POLLIN, .revents = 0};
  return poll(&socket, 1, 0) != 0;
}

/// The time as RFC 9110 (5.6.7) wants it. No wait in here, so the thread's text is the fiber's while it copies it.
std::string_view date() {
  thread_local std::time_t second = 0;
  thread_local char text[32];
  if (const std::time_t now = std::time(nullptr); now != second) {
    second = now;
    std::tm utc{};
    gmtime_r(&now, &utc);
    std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  }
  return text;
}

/// 1xx, 204 and 304 end with their header (RFC 9112, 6.3).
bool may_have_body(unsigned code) { return code >= 200 && code != 204 && code != 304; }

}  // namespace

response reply(status code, std::string_view type, std::string body) {
  response r(code, 11, std::move(body));
  r.set(field::content_type, {type.data(), type.size()});
  return r;
}

std::string_view path(const request& r) {
  const std::string_view target = view(r.target());
  return target.substr(0, target.find('?'));
}

std::optional<std::string_view> query(const request& r, std::string_view name) {
  std::string_view rest = view(r.target()).substr(path(r).size());
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the ? or &
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(pair.size());
    if (pair.substr(0, pair.find('=')) == name) return pair.substr(std::min(pair.size(), name.size() + 1));
  }
  return std::nullopt;
}

server::server(weft::io::listener source, handler answer, limits most)
    : answer_(std::move(answer)),
      most_(std::move(most)),
      loops_(weft::loop_count()),
      connections_(
          std::move(source), [this](weft::io::stream client) { serve(std::move(client)); }, most_.connections) {}

void server::serve(weft::io::stream stream) {
  connection client{std::move(stream)};
  auto& here = loops_[weft::this_loop()].connections;
  const struct entry {
    std::list<connection*>& list;
    std::list<connection*>::iterator at;
    ~entry() { list.erase(at); }
  } entry{here, here.insert(here.end(), &client)};

  try {
    while (serve_one(client)) {
    }
  } catch (const weft::io::stream_closed&) {  // stop() found it idle
  }
}

/// False when it was the last of its connection.
bool server::serve_one(connection& client) {
  loop_share& here = loops_[weft::this_loop()];
  const auto add_one = [](std::atomic<std::uint64_t>& n) { n.fetch_add(1, std::memory_order_relaxed); };
  std::optional<request> asked;
  try {
    asked = read_request(client);
  } catch (const refused& error) {
    add_one(here.refused);
    refuse(client, error.code(), error.what());
    return false;
  }
  if (!asked) return false;

  add_one(here.begun);
  response answer;
  try {
    answer = answer_(*asked);
  } catch (const std::exception&) {
    refuse(client, status::internal_server_error, "something went wrong in here");
    add_one(here.answered);
    throw;
  }
  const bool keep_alive = asked->keep_alive() && !stopping_;
  write_response(client, answer, keep_alive, asked->method() != verb::head);
  add_one(here.answered);
  if (!keep_alive) linger(client.stream);
  return keep_alive;
}

/// Nothing when the client has ended the connection instead. Throws refused.
std::optional<request> server::read_request(connection& client) {
  weft::io::stream& s = client.stream;
  while (s.buffered().starts_with("\r\n")) s.consume(2);  // from before the request: RFC 9112, 2.2
  if (s.buffered().empty()) {
    client.idle = true;
    // One that was accepted as we stopped may be about to ask.
    const auto came = stopping_ ? weft::move_on_after(100ms, [&] { return s.fill(); }) : s.fill();
    client.idle = false;
    if (came.value_or(0) == 0) return std::nullopt;
  }

  reader<true> message(s, most_.header, most_.body);
  try {
    if (!message.parse()) weft::timeout(most_.receive, [&] { message.finish(); });
  } catch (const weft::timed_out&) {
    throw refused(status::request_timeout, "the request took too long to come");
  } catch (const weft::io::line_too_long&) {
    throw refused(beast::error::header_limit);
  }
  request r = message.take();
  check_framing(r, message.chunked());
  return r;
}

void server::write_response(connection& client, const response& r, bool keep_alive, bool with_body) {
  std::string head;
  head.reserve(256);
  const auto line = [&](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  head.append("HTTP/1.1 ").append(std::to_string(r.result_int())).append(" ").append(view(r.reason())).append("\r\n");
  line("Date", date());
  for (const auto& f : r) line(view(f.name_string()), view(f.value()));
  if (may_have_body(r.result_int())) line("Content-Length", std::to_string(r.body().size()));
  line("Connection", keep_alive ? "keep-alive" : "close");
  head.append("\r\n");
  client.stream.write_all({head, with_body && may_have_body(r.result_int()) ? r.body() : std::string_view()});
}

/// The last answer of a connection.
void server::refuse(connection& client, status code, std::string_view why) {
  write_response(client, reply(code, "text/plain", std::string(why) + "\n"), false);
  linger(client.stream);
}

void server::stop() {
  stopping_ = true;
  connections_.stop();
  std::vector<weft::future<void>> sweeps;
  for (unsigned i = 0; i < loops_.size(); ++i)
    sweeps.push_back(weft::spawn(weft::on_loop(i), [&here = loops_[i].connections] {
      for (connection* client : here)
        if (client->idle && !has_arrived(client->stream)) client->stream.close();
    }));
  weft::gather(std::move(sweeps)).get();
}

server_report server::report() const {
  server_report sum{.connections = connections_.report().accepted};
  for (const loop_share& loop : loops_) {
    const std::uint64_t answered = loop.answered.load(std::memory_order_relaxed);
    sum.answered += answered;
    sum.cut_off += loop.begun.load(std::memory_order_relaxed) - answered;
  }
  return sum;
}

response fetch(const weft::io::endpoint& from, std::string_view target, std::chrono::nanoseconds limit) {
  return weft::timeout(limit, [&] {
    weft::io::stream s = weft::io::connect(from);
    s.write_all({"GET ", target, " HTTP/1.1\r\nHost: ", to_string(from), "\r\nConnection: close\r\n\r\n"});
    reader<false> message(s, 64 * 1024, 64 * 1024 * 1024);
    message.finish();
    return message.take();
  });
}

}  // namespace http
