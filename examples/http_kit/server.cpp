#include "http_kit/server.hpp"

#include <poll.h>

#include <atomic>
#include <ctime>
#include <exception>
#include <list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/event.hpp>
#include <weft/gather.hpp>
#include <weft/io/error.hpp>
#include <weft/loop.hpp>
#include <weft/spawn.hpp>
#include <weft/this_fiber.hpp>
#include <weft/timeout.hpp>

#include "http_kit/message_reader.hpp"
#include "http_kit/stream_writer.hpp"

namespace http {

using namespace std::chrono_literals;

namespace {

/// How much of a body that nobody wanted is read for the sake of the connection.
constexpr std::uint64_t most_skipped = 64 * 1024;

/// How long a client may take to end its half: a socket closed before that may lose our last words (RFC 9112, 9.6).
constexpr auto longest_end = 1s;

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
bool may_have_body(status code) {
  return number(code) >= 200 && code != status::no_content && code != status::not_modified;
}

}  // namespace

struct server::state {
  // Who may touch what:
  //   connections  fibers of the loop of that index.
  //   the counts   written by that loop, read by any thread.
  struct alignas(64) loop_share {
    std::list<connection*> connections;
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> answered{0};
    std::atomic<std::uint64_t> refused{0};
  };

  state(weft::io::listener source, handler h, options o)
      : answer(std::move(h)),
        most(std::move(o)),
        loops(weft::loop_count()),
        connections(
            std::move(source), [this](weft::io::stream client) { serve(std::move(client)); }, most.connections) {
    if (!answer) throw std::invalid_argument("http::server: no handler");
  }

  void serve(weft::io::stream client);

  const handler answer;
  const options most;
  weft::event stopping;
  std::vector<loop_share> loops;
  weft::io::server connections;  // last: its handler uses the others
};

/// A connection, and on it one request after the other.
struct server::connection final : body_source {
  connection(state& s, weft::io::stream client)
      : server(s),
        here(s.loops[weft::this_loop()]),
        stream(std::move(client)),
        reader(stream, {.header = s.most.header,
                        .body = s.most.body,
                        .receive = s.most.receive,
                        .idle = s.most.connections.idle}) {
    asked.peer = stream.peer();
  }

  bool serve_one();

  // body_source: the reader's, and "100 Continue" before it
  std::size_t read_some(std::span<char> to) override {
    if (!reader.is_too_long() && std::exchange(awaits_continue, false) && stream.buffered().empty() &&
        !reader.body_done())
      stream.write_all("HTTP/1.1 100 Continue\r\n\r\n");
    return reader.read_some(to);
  }
  void limit(std::uint64_t bytes, std::optional<std::chrono::nanoseconds> time) override { reader.limit(bytes, time); }
  [[nodiscard]] std::optional<std::uint64_t> length() const override { return reader.length(); }
  void wait_until_gone() override;

  bool wait_for_request();
  response ask_handler();
  bool skip_body();
  bool write(response& r, bool keep_alive);
  void refuse(const error& why);
  void log(status code);

  static void add_one(std::atomic<std::uint64_t>& n) { n.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] bool stopping() const { return server.stopping.is_set(); }

  state& server;
  state::loop_share& here;
  weft::io::stream stream;
  message_reader reader;
  request asked;
  std::string head;   ///< of a response, kept for its memory
  bool idle = false;  ///< waits for a request to begin
  bool awaits_continue = false;
  std::exception_ptr failure;  ///< what the handler threw
  weft::clock::time_point begun;
  std::uint64_t sent_before = 0;
};

void server::state::serve(weft::io::stream stream) {
  connection client(*this, most.secure ? most.secure(std::move(stream)) : std::move(stream));
  auto& all = client.here.connections;
  const struct entry {
    std::list<connection*>& list;
    std::list<connection*>::iterator at;
    ~entry() { list.erase(at); }
  } entry{all, all.insert(all.end(), &client)};

  try {
    while (client.serve_one()) {
    }
  } catch (const weft::io::stream_closed&) {  // stop() found it idle
  } catch (const std::exception&) {
    if (!client.failure) throw;  // it came first
  }
  if (client.failure) std::rethrow_exception(client.failure);
}

/// False when the client has ended the connection instead.
bool server::connection::wait_for_request() {
  if (!stream.buffered().empty()) return true;
  idle = true;
  // One that was accepted as we stopped may be about to ask.
  const auto came = stopping() ? weft::move_on_after(100ms, [&] { return stream.fill(); }) : stream.fill();
  idle = false;
  return came.value_or(0) != 0;
}

void server::connection::wait_until_gone() {
  if (!reader.body_done()) throw std::logic_error("http: the body was not read");
  for (;;) try {
      if (stream.fill() == 0) return;
    } catch (const weft::timed_out&) {  // it has nothing to say: that is what is expected of it
    } catch (const weft::io::line_too_long&) {
      for (;;) weft::sleep_for(std::chrono::hours(1));  // so many requests that its end cannot be seen behind them
    } catch (const weft::io::error&) {
      return;
    }
}

/// False when it was the last of its connection.
bool server::connection::serve_one() {
  if (!wait_for_request()) return false;
  const bool logs = bool(server.most.log);
  if (logs) {
    begun = weft::clock::now();
    sent_before = stream.bytes_written();
  }
  try {
    if (!reader.read({asked.method, asked.target, asked.version, asked.fields})) return false;
  } catch (const error& why) {
    asked.begin(nullptr);
    add_one(here.refused);
    refuse(why);
    return false;
  }
  if (logs) begun = weft::clock::now();
  asked.begin(this);
  add_one(here.begun);

  response answer = ask_handler();
  if (answer.take_over) {
    if (logs) log(answer.code);
    answer.take_over(std::move(stream));
    add_one(here.answered);
    return false;
  }
  bool keep_alive = reader.keep_alive() && !failure && !stopping() &&
                    (answer.stream || reader.may_skip(most_skipped)) &&
                    (!awaits_continue || reader.body_done());  // else it may come or not
  awaits_continue = false;                                     // too late for that
  keep_alive = write(answer, keep_alive);
  answer.stream = {};  // it may own who reads the request's body
  add_one(here.answered);
  if (logs) log(answer.code);
  if (keep_alive && skip_body()) return true;
  stream.finish(longest_end);
  return false;
}

response server::connection::ask_handler() {
  const auto answer_to = [](const error& why) {
    response r = text(std::string(why.what()) + "\n", why.code());
    for (const auto& [name, value] : why.fields()) r.fields.set(name, value);
    return r;
  };
  try {
    awaits_continue = false;
    if (const auto expected = asked.fields.get("Expect"); expected && asked.version == 11) {
      if (!equal_names(*expected, "100-continue"))
        throw error(status::expectation_failed, "only 100-continue can be expected");
      awaits_continue = true;
    }
    return server.answer(asked);
  } catch (const error& why) {
    return answer_to(why);
  } catch (const std::exception&) {
    failure = std::current_exception();
    return answer_to(error(status::internal_server_error, "something went wrong in here"));
  }
}

/// Reads what the handler left of the body. False when that is too much, or wrong.
bool server::connection::skip_body() {
  if (reader.body_done()) return true;
  try {
    return reader.skip_body(most_skipped);
  } catch (const error&) {
    return false;
  }
}

/// Gives whether the connection can be kept.
bool server::connection::write(response& r, bool keep_alive) {
  const bool has_body = may_have_body(r.code);
  const bool counted = !r.stream || r.length;
  const bool chunked = has_body && !counted && asked.version == 11;
  keep_alive = keep_alive && (counted || chunked || !has_body);
  char some_digits[24];

  head.clear();
  head.append("HTTP/1.1 ").append(digits(number(r.code), 10, some_digits)).append(" ").append(reason(r.code));
  head.append("\r\n").append(r.fields.text());
  if (!r.fields.has("Date")) head.append("Date: ").append(date()).append("\r\n");
  if (chunked)
    head.append("Transfer-Encoding: chunked\r\n");
  else if (has_body && counted)
    head.append("Content-Length: ")
        .append(digits(r.stream ? *r.length : r.body.size(), 10, some_digits))
        .append("\r\n");
  head.append(keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");

  const bool sends_body = has_body && asked.method != "HEAD";
  stream.write_all({head, sends_body && !r.stream ? std::string_view(r.body) : std::string_view()});
  if (sends_body && r.stream) {
    stream_writer to(stream, chunked, r.length, &server.stopping);
    r.stream(to);
    to.finish();
  }
  return keep_alive;
}

/// The last answer of a connection.
void server::connection::refuse(const error& why) {
  response r = text(std::string(why.what()) + "\n", why.code());
  write(r, false);
  if (server.most.log) log(r.code);
  stream.finish(longest_end);
}

void server::connection::log(status code) {
  server.most.log({asked, code, stream.bytes_written() - sent_before, weft::clock::now() - begun});
}

server::server(weft::io::listener source, handler answer, options most)
    : state_(std::make_unique<state>(std::move(source), std::move(answer), std::move(most))) {}

server::~server() = default;

void server::run() { state_->connections.run(); }

void server::stop() {
  state_->stopping.set();
  state_->connections.stop();
  std::vector<weft::future<void>> sweeps;
  for (unsigned i = 0; i < state_->loops.size(); ++i)
    sweeps.push_back(weft::spawn(weft::on_loop(i), [&here = state_->loops[i].connections] {
      for (connection* client : here)
        if (client->idle && !has_arrived(client->stream)) client->stream.close();
    }));
  weft::gather(std::move(sweeps)).get();
}

server_report server::report() const {
  server_report sum{.connections = state_->connections.report().accepted};
  for (const auto& loop : state_->loops) {
    const std::uint64_t answered = loop.answered.load(std::memory_order_relaxed);
    sum.answered += answered;
    sum.refused += loop.refused.load(std::memory_order_relaxed);
    sum.cut_off += loop.begun.load(std::memory_order_relaxed) - answered;
  }
  return sum;
}

weft::io::endpoint server::local() const { return state_->connections.local(); }

std::string to_string(const server_report& r) {
  const auto said = [](std::uint64_t n, const char* what) { return std::to_string(n) + what; };
  return said(r.answered, " requests answered on ") + said(r.connections, " connections, ") +
         said(r.refused, " refused, ") + said(r.cut_off, " cut off");
}

}  // namespace http
