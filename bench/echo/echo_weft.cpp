// TCP echo on weft: one fiber a connection.

#include <array>
#include <csignal>
#include <cstddef>
#include <span>

#include "../support/server.hpp"
#include "weft/weft.hpp"

namespace {

void echo(weft::io::stream s) {
  std::array<std::byte, 16 * 1024> buffer;
  while (const std::size_t n = s.read_some(buffer)) s.write_all(std::span(buffer).first(n));
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
