// HTTP/1.1 with keep-alive on weft: says hello to every request. One fiber a connection.

#include <csignal>

#include "../support/server.hpp"
#include "hello.hpp"
#include "weft/weft.hpp"

namespace {

void serve(weft::io::stream client) {
  bench::request_reader requests;
  for (;;) {
    if (client.buffered().empty() && client.fill() == 0) return;
    std::size_t used = 0;
    const auto state = requests.take(client.buffered(), used);
    client.consume(used);
    switch (state) {
      case bench::request_reader::state::complete:
        client.write_all(bench::hello);
        if (!requests.keep_alive()) return;
        break;
      case bench::request_reader::state::incomplete:
        if (client.fill() == 0) return;
        break;
      case bench::request_reader::state::bad:
        client.write_all(bench::not_understood);
        return;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv);
  return weft::run(
      [&] {
        weft::io::signals stop{SIGTERM, SIGINT};
        weft::io::server server(weft::io::listen(weft::io::endpoint::loopback(given.port)), serve,
                                {.max_connections = 20'000});
        auto serving = weft::spawn([&] { return server.run(); });
        bench::announce(server.local().port());
        stop.wait();
        server.stop();
        serving.get();
        return 0;
      },
      {.loops = given.threads, .cpu_workers = 1});
}
