// A reverse proxy: takes HTTPS from clients and passes each request on to one of several HTTP servers.
//
// Run it: build/dev/examples/13_reverse_proxy --certificates cert.pem --key key.pem --port 8443
//             --upstreams 127.0.0.1:8081,127.0.0.1:8082 --health /hello
//         before two of 10_http_server with --port 8081 and 8082
//         (port 0 takes any free one; also --health-ms, --answer-ms, --silence-ms, --websocket-ms and --grace-ms;
//         without certificates it takes HTTP)
//
//     openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout key.pem -out cert.pem
//     curl -k https://localhost:8443/hello
//
// * The server with the fewest requests in flight is asked. One that cannot be reached, or does not answer its health
//   check with 2xx or 3xx, is left out until it does.
// * A request goes to the next server if there was no connection, or no answer, and doing it twice is doing it once
//   (GET, PUT ...) and its body, if any, has not begun to flow. Else the client is told: 502, 503 when there is no
//   server left, 504 when the server was too slow.
// * Bodies stream both ways at the same time, a piece in memory each: uploads of gigabytes, events, WebSockets. The
//   server sees X-Forwarded-For and X-Forwarded-Proto, and none of the fields meant for one connection. Both are
//   http::forward()'s work: http_kit/forward.hpp.
// * Silence of 30 s (--silence-ms) ends a connection, also in the middle of a body: a server that sends events must
// send
//   something so often. A WebSocket may be silent for ten minutes (--websocket-ms), both ways.
//
// On SIGINT (Ctrl-C) or SIGTERM it answers what is in flight, and ends with a line such as
//
//     stopped: 4711 requests answered on 64 connections, 0 refused, 0 cut off

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/io/tls.hpp>
#include <weft/weft.hpp>

#include "http_kit/client.hpp"
#include "http_kit/forward.hpp"
#include "http_kit/server.hpp"
#include "support/arguments.hpp"

using http::status;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

/// There was no connection, so nothing was sent.
struct unreachable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct upstream {
  upstream(weft::io::endpoint where, const http::client_options& most)
      : at(where), client([this, limit = most.connect] { return connect(limit); }, most) {}
  weft::io::stream connect(std::chrono::nanoseconds limit) try {
    return weft::io::connect(at, {.timeout = limit});
  } catch (const weft::io::error& e) {
    healthy = false;
    throw unreachable(e.what());
  }
  const weft::io::endpoint at;
  http::client client;
  std::atomic<bool> healthy{true};
  std::atomic<int> in_flight{0};
};

class proxy {
 public:
  proxy(std::string_view addresses, http::client_options most, milliseconds websocket_silence, bool tls)
      : scheme_(tls ? "https" : "http"), websocket_silence_(websocket_silence) {
    http::for_each_of_list(addresses, [&](std::string_view one) {
      most.host = one;  // for requests without Host
      upstreams_.push_back(std::make_unique<upstream>(weft::io::endpoint::parse(one), most));
    });
    if (upstreams_.empty()) throw std::invalid_argument("--upstreams names no server");
  }

  http::response pass(http::request& r) {
    for (std::vector<upstream*> tried;;) {
      upstream* const at = choose(tried);
      if (!at) throw http::error(status::service_unavailable, "no server is there").with("Retry-After", "1");
      tried.push_back(at);
      try {
        ++at->in_flight;
        const std::shared_ptr<void> seat(at, [](upstream* from) { --from->in_flight; });
        return http::forward(r, at->client, {.scheme = scheme_, .until_done = seat, .silence = websocket_silence_});
      } catch (const unreachable&) {      // any request may go to the next
      } catch (const weft::io::error&) {  // it went away: with this request or because of it, nobody knows
        if (!http::may_repeat(r)) throw http::error(status::bad_gateway, "the server went away");
      } catch (const http::error& e) {
        if (e.code() != status::bad_gateway || !http::may_repeat(r)) throw;
      }
    }
  }

  /// Asks each server, time and again, whether it is well.
  void watch(const std::string& path, milliseconds period) {
    weft::with_group([&](weft::task_group& all) {
      for (const auto& one : upstreams_)
        all.spawn([&at = *one, path, period] {
          for (weft::interval ticks(period, weft::missed_tick::delay);; ticks.tick()) try {
              const unsigned code = number(http::fetch(at.at, path, period).code);
              at.healthy = code >= 200 && code < 400;
            } catch (const std::exception&) {
              at.healthy = false;
            }
        });
    });
  }

 private:
  upstream* choose(const std::vector<upstream*>& tried) {
    upstream* best = nullptr;
    for (std::size_t i = 0; i < upstreams_.size(); ++i) {
      upstream* const one = upstreams_[(first_ + i) % upstreams_.size()].get();
      if (!one->healthy || std::find(tried.begin(), tried.end(), one) != tried.end()) continue;
      if (!best || one->in_flight < best->in_flight) best = one;
    }
    ++first_;
    return best;
  }

  const std::string scheme_;
  const milliseconds websocket_silence_;
  std::vector<std::unique_ptr<upstream>> upstreams_;
  std::atomic<std::size_t> first_{0};
};

int main(int argc, char** argv) try {
  arguments given(argc, argv);
  const auto port = given.take<std::uint16_t>("--port", 8443);
  const std::string certificates = given.take("--certificates", std::string(""));
  const std::string key = given.take("--key", std::string(""));
  const std::string upstreams = given.take("--upstreams", std::string("127.0.0.1:8080"));
  const std::string health = given.take("--health", std::string("/"));
  const milliseconds health_period = given.take("--health-ms", milliseconds(1000));
  const milliseconds silence = given.take("--silence-ms", milliseconds(30'000));
  const milliseconds websocket_silence =
      given.take("--websocket-ms", duration_cast<milliseconds>(http::websocket_silence));
  const http::client_options client{.answer = given.take("--answer-ms", milliseconds(30'000)), .idle = silence};
  http::options most;
  most.receive = most.connections.first_byte = most.connections.idle = most.connections.write_stall = silence;
  most.connections.grace = milliseconds(given.take("--grace-ms", 10'000u));
  given.finish();
  if (certificates.empty() != key.empty()) throw std::invalid_argument("--certificates and --key need each other");
  if (!certificates.empty())
    most.secure = [context = weft::io::tls_context::server({.certificates = weft::io::read_pem(certificates),
                                                            .key = weft::io::read_pem(key),
                                                            .alpn = {"http/1.1"}})](weft::io::stream s) {
      return weft::io::tls_accept(std::move(s), context);
    };

  weft::run([&] {
    proxy here(upstreams, client, websocket_silence, bool(most.secure));
    http::server server(
        weft::io::listen(weft::io::endpoint::loopback(port)), [&](http::request& r) { return here.pass(r); }, most);
    weft::io::signals stop{SIGINT, SIGTERM};
    weft::with_group([&](weft::task_group& all) {
      all.spawn([&] { here.watch(health, health_period); });
      auto serving = all.spawn([&] { server.run(); });
      std::cout << "listening on http" << (most.secure ? "s" : "") << "://" << to_string(server.local()) << std::endl;
      stop.wait();
      server.stop();
      serving.get();
      all.cancel();
    });
    std::cout << "stopped: " << to_string(server.report()) << std::endl;
  });
  return 0;
} catch (const std::exception& error) {
  std::cerr << "13_reverse_proxy: " << error.what() << std::endl;
  return 1;
}
