// TCP echo on weft: one fiber a connection.

#include <csignal>
#include <cstddef>

#include "../support/server.hpp"
#include "weft/weft.hpp"

namespace {

void echo(weft::io::stream s) {
  while (const std::size_t n = s.fill()) {
    s.write_all(s.buffered());
    s.consume(n);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv);
  return weft::run(
      [&] {
        weft::io::signals stop{SIGTERM, SIGINT};
        weft::io::server server(weft::io::listen(weft::io::endpoint::loopback(given.port)), echo,
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
