#include "http_kit/client.hpp"

#include <poll.h>

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>
#include <vector>

#include <weft/cancel.hpp>
#include <weft/future.hpp>
#include <weft/io/error.hpp>
#include <weft/io/tcp.hpp>
#include <weft/loop.hpp>
#include <weft/spawn.hpp>
#include <weft/timeout.hpp>

#include "http_kit/message_reader.hpp"
#include "http_kit/stream_writer.hpp"

namespace http {

namespace {

struct link {
  link(weft::io::stream s, const client_options& most)
      : stream(std::move(s)),
        reader(stream, {.header = most.header, .body = UINT64_MAX, .receive = most.answer, .idle = most.idle}) {
    stream.read_timeout(most.idle);
    stream.write_timeout(most.idle);
  }
  weft::io::stream stream;
  message_reader reader;
  weft::clock::time_point since;  ///< idle
};

/// Nothing should come on an idle connection but its end.
bool is_quiet(link& l) {
  pollfd socket{.fd = l.stream.native_handle(), .events = POLLIN, .revents = 0};
  return l.stream.buffered().empty() && poll(&socket, 1, 0) == 0;
}

/// The first line of a request must be this one, and one.
void check(const call& what) {
  const auto ends_it = [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; };
  if (!is_token(what.method)) throw std::invalid_argument("no method: \"" + what.method + "\"");
  if (what.target.empty() || std::any_of(what.target.begin(), what.target.end(), ends_it))
    throw std::invalid_argument("no target: \"" + what.target + "\"");
}

/// What the reader says to a client, as a gateway says it.
[[noreturn]] void rethrow_as_gateway(const error& e) {
  throw error(e.code() == status::request_timeout ? status::gateway_timeout : status::bad_gateway,
              std::string("no answer: ") + e.what());
}

}  // namespace

bool is_idempotent(std::string_view method) noexcept {
  for (const std::string_view one : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
    if (method == one) return true;
  return false;
}

// Who may touch what:
//   kept   fibers of the loop of that index.
//   the rest is never changed.
struct client::state {
  struct alignas(64) loop_share {
    std::vector<std::unique_ptr<link>> kept;
  };

  std::unique_ptr<link> take_kept() {
    auto& kept = loops[weft::this_loop()].kept;
    while (!kept.empty()) {
      std::unique_ptr<link> last = std::move(kept.back());
      kept.pop_back();
      if (weft::clock::now() - last->since < most.keep && is_quiet(*last)) return last;
    }
    return nullptr;
  }
  void keep(std::unique_ptr<link> l) {
    auto& kept = loops[weft::this_loop()].kept;
    l->since = weft::clock::now();
    if (most.kept == 0) return;
    if (kept.size() >= most.kept) kept.erase(kept.begin());
    kept.push_back(std::move(l));
  }

  const std::function<weft::io::stream()> connect;
  const client_options most;
  std::vector<loop_share> loops{weft::loop_count()};
};

struct answer::exchange {
  exchange(std::shared_ptr<client::state> of, std::unique_ptr<link> l) : whose(std::move(of)), on(std::move(l)) {}
  exchange(const exchange&) = delete;
  exchange& operator=(const exchange&) = delete;
  ~exchange() {
    if (sending_.valid() && !sending_.ready()) {
      on->stream.close();
      weft::shield([&] {
        sending_.cancel();
        sending_.wait();
      });
    }
  }

  /// The request. A body that is streamed goes on its way.
  void send(call& what, const std::string& host) {
    std::string head;
    head.reserve(256);
    char some[24];
    head.append(what.method).append(" ").append(what.target).append(" HTTP/1.1\r\n");
    if (!what.fields.has("Host")) head.append("Host: ").append(host).append("\r\n");
    head.append(what.fields.text());
    const bool chunked = what.stream && !what.length;
    const std::uint64_t length = what.stream ? what.length.value_or(0) : what.body.size();
    if (chunked)
      head.append("Transfer-Encoding: chunked\r\n");
    else if (length > 0 || what.stream || (what.method != "GET" && what.method != "HEAD"))
      head.append("Content-Length: ").append(digits(length, 10, some)).append("\r\n");
    head.append("\r\n");
    on->stream.write_all({head, what.stream ? std::string_view() : std::string_view(what.body)});
    if (!what.stream) return;
    sending_ =
        weft::spawn([this, body = std::move(what.stream), length = what.length]() mutable { send_body(body, length); });
  }

  void send_body(function<void(body_writer&)>& body, std::optional<std::uint64_t> length) {
    stream_writer to(on->stream, !length, length, nullptr);
    try {
      body(to);
      to.finish();
      sent_ = true;
    } catch (const std::exception&) {
      if (to.stream_failed()) return;  // the server has read enough, and may have said why
      source_failure_ = std::current_exception();
      on->stream.close();  // wakes whoever waits for the answer
    }
  }

  [[nodiscard]] bool sent() const noexcept { return !sending_.valid() || sent_; }
  void rethrow_source_failure() const {
    if (source_failure_) std::rethrow_exception(source_failure_);
  }

  std::shared_ptr<client::state> whose;
  std::unique_ptr<link> on;

 private:
  weft::future<void> sending_;
  bool sent_ = false;
  std::exception_ptr source_failure_;
};

answer::answer(std::unique_ptr<exchange> e) noexcept : exchange_(std::move(e)) {}
answer::answer(answer&&) noexcept = default;
answer& answer::operator=(answer&&) noexcept = default;
answer::~answer() = default;

std::size_t answer::read_some(std::span<char> to) {
  if (!exchange_ || !exchange_->on || to.empty()) return 0;
  link& l = *exchange_->on;
  std::size_t n = 0;
  try {
    n = l.reader.read_some(to);
  } catch (const error& e) {
    rethrow_as_gateway(e);
  } catch (const weft::io::stream_closed&) {
    exchange_->rethrow_source_failure();
    throw;
  }
  if (l.reader.body_done() && exchange_->sent()) {
    if (l.reader.keep_alive()) exchange_->whose->keep(std::move(exchange_->on));
    exchange_.reset();
  }
  return n;
}

std::string answer::body(std::uint64_t most) {
  std::string all;
  std::size_t size = 0;
  for (std::size_t n = 1; n > 0; size += n) {
    if (size > most) throw error(status::bad_gateway, "the answer is too large");
    all.resize(size + 16 * 1024);
    n = read_some(std::span(all).subspan(size));
  }
  all.resize(size);
  return all;
}

weft::io::stream answer::take_over() {
  if (!exchange_ || !exchange_->on) throw std::logic_error("answer::take_over(): the connection is gone");
  return std::move(exchange_->on->stream);
}

client::client(weft::io::endpoint to, client_options most) {
  if (most.host.empty()) most.host = to_string(to);
  headers().add("Host", most.host);  // throws for what would be no field
  auto connect = [to, limit = most.connect] { return weft::io::connect(to, {.timeout = limit}); };
  state_ = std::make_shared<state>(state{std::move(connect), std::move(most)});
}

client::client(std::function<weft::io::stream()> connect, client_options most)
    : state_(std::make_shared<state>(state{std::move(connect), std::move(most)})) {
  headers().add("Host", state_->most.host);  // as above
}

std::size_t client::kept() const { return state_->loops[weft::this_loop()].kept.size(); }

answer client::send(call what) {
  check(what);
  for (;;) {
    std::unique_ptr<link> l = state_->take_kept();
    const bool is_kept = l != nullptr;
    if (!l) {
      weft::io::stream s = state_->connect();
      if (state_->most.secure) s = state_->most.secure(std::move(s));
      l = std::make_unique<link>(std::move(s), state_->most);
    }
    const bool repeatable = is_kept && !what.stream && is_idempotent(what.method);
    auto e = std::make_unique<answer::exchange>(state_, std::move(l));
    link& on = *e->on;
    response_head head;
    try {
      try {
        e->send(what, state_->most.host);
      } catch (const weft::io::error&) {  // it may have answered all the same
        if (repeatable) continue;
      } catch (const weft::timed_out&) {
        throw error(status::request_timeout, "the server takes no more of the request");
      }
      if (!on.reader.read(head, what.method == "HEAD")) {
        if (repeatable) continue;
        throw error(status::bad_gateway, "the connection ended");
      }
    } catch (const error& problem) {
      e->rethrow_source_failure();
      rethrow_as_gateway(problem);
    } catch (const weft::io::stream_closed&) {
      e->rethrow_source_failure();
      throw;
    } catch (const weft::io::error&) {
      if (repeatable && on.stream.buffered().empty()) continue;
      throw;
    }
    on.reader.limit(UINT64_MAX, weft::io::no_timeout);
    answer a(std::move(e));
    a.code = head.code;
    a.fields = std::move(head.fields);
    a.length_ = on.reader.length();
    char none[1];
    if (on.reader.body_done() && head.code != status::switching_protocols) (void)a.read_some(none);
    return a;
  }
}

response fetch(const weft::io::endpoint& from, std::string_view target, std::chrono::nanoseconds limit) {
  return weft::timeout(limit, [&] {
    client once(from, {.kept = 0});
    call what{.target = std::string(target)};
    what.fields.add("Connection", "close");
    answer a = once.send(std::move(what));
    response r(a.code);
    r.body = a.body();
    r.fields = std::move(a.fields);
    return r;
  });
}

}  // namespace http
