// An HTTP server. Each GET /gather does all three kinds of work at once: it asks two other servers (IO: fibers),
// digests what they say (CPU: oneTBB) and looks into an SQLite database (calls that block: threads), and gathers the
// four.
//
// Run it: build/dev/examples/10_http_server --port 8080
//         (port 0 takes any free one; also --loops, --workers, --background 0, and --silence-ms and --grace-ms: see
//         below)
//
//     curl localhost:8080/hello           a few bytes, at once
//     curl localhost:8080/gather?id=3     the three kinds of work; ids 1 to 10
//     curl localhost:8080/cpu?ms=200      that much work for a CPU, 1000 at most
//     curl localhost:8080/stats           what the runtime holds and what it waits for
//     wrk -c 64 -d 5 http://localhost:8080/hello
//
// However busy /cpu keeps the CPUs, /hello goes on being answered; /cpu stops when its client goes away. On SIGINT
// (Ctrl-C) or SIGTERM the server refuses new connections, answers the requests it has begun, and ends with a line such
// as
//
//     stopped: 4711 requests answered on 64 connections, 0 refused, 0 cut off

#include <chrono>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include <weft/executor.hpp>
#include <weft/io/signals.hpp>

#include "http_kit/client.hpp"
#include "http_kit/server.hpp"
#include "http_kit/while_connected.hpp"
#include "support/arguments.hpp"
#include "support/cpu_work.hpp"
#include "support/product_table.hpp"
#include "support/runtime_now.hpp"

using http::status;
using nlohmann::json;
using std::chrono::milliseconds;

http::response in_json(const json& body) { return http::json(body.dump() + "\n"); }

/// One of the two servers that /gather asks: knows a number about each product, and takes its time.
auto upstream(std::string what, int factor) {
  return [=](http::request& r) {
    weft::sleep_for(milliseconds(5));
    return in_json({{what, r.query<int>("id").value_or(0) % 1000 * factor}});
  };
}

constexpr unsigned rounds = 2000;  // of SHA-256: about a millisecond

struct shop {
  const weft::io::endpoint prices;
  const weft::io::endpoint stocks;
  product_table& products;

  http::response gather(int id) {
    const auto ask = [path = "/?id=" + std::to_string(id)](weft::io::endpoint whom) {
      return [=] { return http::fetch(whom, path).body; };
    };
    auto price = weft::spawn(ask(prices));          // IO: two fibers, each waiting for a socket
    auto stock = weft::spawn(ask(stocks));          //
    auto digest = weft::spawn_cpu([price, stock] {  // CPU: awaits both, and holds no worker up meanwhile
      return sha256(price.get() + stock.get(), rounds);
    });
    auto row = weft::spawn_blocking([&, id] { return products.find(id); });  // a thread, which may block

    auto [p, s, d, product] = weft::gather(price, stock, std::move(digest), std::move(row)).get();

    if (!product) throw http::error(status::not_found, "no such product");
    return in_json({{"id", id},
                    {"name", product->name},
                    {"maker", product->maker},
                    {"price", json::parse(p)},
                    {"stock", json::parse(s)},
                    {"digest", d},
                    {"rounds", rounds}});
  }
};

http::response burn(milliseconds limit) {
  auto work = weft::spawn_cpu([limit] {
    std::string digest;
    for (const auto start = thread_cpu_time(); thread_cpu_time() - start < limit; weft::check_cancelled())
      digest = sha256(digest, rounds);
    return digest;
  });
  return in_json({{"ms", limit.count()}, {"digest", std::move(work).get()}});
}

http::router routes_of(shop& here) {
  http::router routes;
  routes.get("/hello", [](http::request&) { return http::text("hello\n"); });
  routes.get("/stats", [](http::request&) { return in_json(runtime_now()); });
  routes.get("/gather", [&here](http::request& r) {
    const auto id = r.query<int>("id");
    if (!id) throw http::error(status::bad_request, "which product? /gather?id=3");
    return here.gather(*id);
  });
  routes.get("/cpu", [](http::request& r) {
    const auto ms = r.query<unsigned>("ms");
    if (!ms || *ms > 1000) throw http::error(status::bad_request, "how long? /cpu?ms=200");
    (void)r.body();  // to its end, so that the client can be watched
    return http::while_connected(r, [&] { return burn(milliseconds(*ms)); });
  });
  return routes;
}

void serve(std::uint16_t port, const http::options& limits, product_table& products) {
  const auto at = [](std::uint16_t number) {
    return weft::io::listen({weft::io::endpoint::bytes_v4{127, 0, 0, 1}, number});
  };
  http::server prices(at(0), upstream("cents", 199));
  http::server stocks(at(0), upstream("pieces", 7));
  shop here{.prices = prices.local(), .stocks = stocks.local(), .products = products};
  http::server front(at(port), routes_of(here), limits);

  // One wait owns all that runs here, so nothing outlives what it refers to, whatever happens.
  auto run_front = weft::lazy([&] {
    front.run();
    prices.stop();
    stocks.stop();
  });
  auto await_signal = weft::lazy([&] {
    weft::io::signals stop{SIGINT, SIGTERM};
    std::cout << "listening on http://" << to_string(front.local()) << std::endl;
    stop.wait();
    front.stop();
  });
  weft::gather(std::move(run_front), std::move(await_signal), weft::lazy([&] { prices.run(); }),
               weft::lazy([&] { stocks.run(); }))
      .get();

  std::cout << "stopped: " << to_string(front.report()) << std::endl;
}

int main(int argc, char** argv) try {
  arguments given(argc, argv);
  const auto port = given.take<std::uint16_t>("--port", 8080);
  weft::config config{.loops = given.take("--loops", weft::usable_cores()),
                      .cpu_workers = given.take("--workers", weft::usable_cores())};
  if (given.take("--background", 1u) == 0) config.cpu_threads = weft::cpu_scheduling::normal;
  http::options limits;
  limits.receive = limits.connections.first_byte = given.take("--silence-ms", milliseconds(10'000));
  limits.connections.grace = milliseconds(given.take("--grace-ms", 10'000u));
  given.finish();

  product_table products;  // made here, for files block, and a loop must not
  weft::run([&] { serve(port, limits, products); }, config);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "10_http_server: " << error.what() << std::endl;
  return 1;
}
