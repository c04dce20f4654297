// A reverse proxy: takes HTTPS from clients and passes each request on to one of several HTTP servers.
//
// Run it: build/dev/examples/13_reverse_proxy --certificates cert.pem --key key.pem --port 8443
//             --upstreams 127.0.0.1:8080,127.0.0.1:8081
//         (port 0 takes any free one; also --health PATH, --health-ms, --answer-ms, --silence-ms and --grace-ms;
//         without certificates it takes HTTP)
//
//     openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout key.pem -out cert.pem
//     curl -k https://localhost:8443/hello
//
// * The server with the fewest requests in flight is asked. One that cannot be reached, or does not answer its health
//   check with 2xx or 3xx, is left out until it does.
// * A request that failed before there was an answer goes to the next server, if doing it twice is doing it once
//   (GET, PUT ...) and its body, if any, has not begun to flow. Else the client is told: 502, 503 when there is no
//   server left, 504 when the server was too slow.
// * Bodies stream both ways at the same time, a piece in memory each: uploads of gigabytes, events, WebSockets.
// * The server sees X-Forwarded-For and X-Forwarded-Proto, and none of the fields meant for one connection.
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
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/io/tls.hpp>
#include <weft/weft.hpp>

#include "http_kit/client.hpp"
#include "http_kit/server.hpp"
#include "http_kit/while_connected.hpp"
#include "support/arguments.hpp"

using http::status;
using std::chrono::milliseconds;

struct upstream {
  upstream(weft::io::endpoint where, const http::client_options& most) : at(where), client(where, most) {}
  const weft::io::endpoint at;
  http::client client;
  std::atomic<bool> healthy{true};
  std::atomic<int> in_flight{0};
};

/// A request's share of in_flight.
class seat {
 public:
  explicit seat(upstream& at) : at_(&at) { ++at.in_flight; }
  seat(seat&& other) noexcept : at_(std::exchange(other.at_, nullptr)) {}
  seat& operator=(seat&&) = delete;
  ~seat() {
    if (at_) --at_->in_flight;
  }

 private:
  upstream* at_;
};

/// Without the fields that are of one connection only (RFC 9110, 7.6.1), and those that the kit writes itself.
http::headers passed_on(const http::headers& fields) {
  http::headers rest;
  for (const auto& [name, value] : fields) {
    bool stays = !fields.lists("Connection", name);
    for (const std::string_view own :
         {"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "TE", "Proxy-Authorization", "Trailer",
          "Transfer-Encoding", "Upgrade", "Content-Length", "Expect", "X-Forwarded-For", "X-Forwarded-Proto"})
      stays = stays && !http::equal_names(name, own);
    if (stays) rest.add_parsed(name, value);
  }
  return rest;
}

template <class From>
void pump(From& from, http::body_writer& to) {
  char some[16 * 1024];
  while (const std::size_t n = from.read_some(some)) to.write({some, n});
}

/// The request's body; that the client has gone is not the server's fault.
struct upload {
  http::request& from;
  std::size_t read_some(std::span<char> to) {
    try {
      return from.read_some(to);
    } catch (const weft::io::error&) {
      throw http::error(http::client_gone, "the client has gone");
    }
  }
};

class proxy {
 public:
  proxy(std::string_view addresses, const http::client_options& most, bool tls) : scheme_(tls ? "https" : "http") {
    http::for_each_of_list(addresses, [&](std::string_view one) {
      upstreams_.push_back(std::make_unique<upstream>(weft::io::endpoint::parse(one), most));
    });
  }

  http::response pass(http::request& r) {
    std::vector<upstream*> tried;
    bool body_flows = false;
    for (;;) {
      upstream* const at = choose(tried);
      if (!at) throw http::error(status::service_unavailable, "no server is there").with("Retry-After", "1");
      tried.push_back(at);
      seat mine(*at);
      try {
        return answer_of(r, at->client.send(call_for(r, body_flows)), std::move(mine));
      } catch (const weft::io::error&) {  // it is not there, or went away
        at->healthy = false;
        if (body_flows || !http::is_idempotent(r.method))
          throw http::error(status::bad_gateway, "the server went away");
      } catch (const http::error& e) {
        if (e.code() != status::bad_gateway || body_flows || !http::is_idempotent(r.method)) throw;
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

  http::call call_for(http::request& r, bool& body_flows) const {
    http::call c{.method = r.method, .target = r.target, .fields = passed_on(r.fields)};
    const std::string before(r.field("X-Forwarded-For").value_or(""));
    c.fields.add("X-Forwarded-For", before + (before.empty() ? "" : ", ") + r.peer.address());
    c.fields.add("X-Forwarded-Proto", scheme_);
    if (const auto protocol = r.field("Upgrade"); protocol && r.fields.lists("Connection", "upgrade")) {
      c.fields.add("Connection", "upgrade");
      c.fields.add("Upgrade", *protocol);
    }
    if (r.length() == 0) return c;
    c.length = r.length();
    c.stream = [&r, &body_flows](http::body_writer& to) {
      body_flows = true;
      upload body{r};
      pump(body, to);
    };
    r.body_limit(std::numeric_limits<std::uint64_t>::max(), weft::io::no_timeout);  // the server has its own
    return c;
  }

  static http::response answer_of(http::request& r, http::answer a, seat mine) {
    http::response answer(a.code);
    answer.fields = passed_on(a.fields);
    if (a.code == status::switching_protocols) {
      answer.take_over = [fields = a.fields, a = std::move(a),
                          mine = std::move(mine)](weft::io::stream client) mutable {
        weft::io::stream server = a.take_over();
        client.write_all({"HTTP/1.1 101 Switching Protocols\r\n", fields.text(), "\r\n"});
        weft::io::copy_bidirectional(client, server);
      };
      return answer;
    }
    answer.length = a.length();
    if (r.method == "HEAD" && a.fields.has("Content-Length"))
      answer.length = ::number<std::uint64_t>(*a.fields.get("Content-Length"));
    answer.stream = [a = std::move(a), mine = std::move(mine)](http::body_writer& to) mutable { pump(a, to); };
    return answer;
  }

  const std::string scheme_;
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
  const milliseconds health_period(given.take("--health-ms", 1000u));
  const milliseconds silence(given.take("--silence-ms", 30'000u));
  const http::client_options client{.answer = milliseconds(given.take("--answer-ms", 30'000u)), .idle = silence};
  http::options most;
  most.receive = most.connections.first_byte = most.connections.idle = most.connections.write_stall = silence;
  most.connections.grace = milliseconds(given.take("--grace-ms", 10'000u));
  given.finish();
  if (!certificates.empty())
    most.secure = [context = weft::io::tls_context::server({.certificates = weft::io::read_pem(certificates),
                                                            .key = weft::io::read_pem(key),
                                                            .alpn = {"http/1.1"}})](weft::io::stream s) {
      return weft::io::tls_accept(std::move(s), context);
    };

  weft::run([&] {
    proxy here(upstreams, client, bool(most.secure));
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
    const http::server_report did = server.report();
    std::cout << "stopped: " << did.answered << " requests answered on " << did.connections << " connections, "
              << did.refused << " refused, " << did.cut_off << " cut off" << std::endl;
  });
  return 0;
} catch (const std::exception& error) {
  std::cerr << "13_reverse_proxy: " << error.what() << std::endl;
  return 1;
}
