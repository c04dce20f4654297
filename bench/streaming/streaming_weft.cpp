// Sends as many bytes as are asked for, on weft.

#include <csignal>
#include <cstdint>
#include <span>

#include "../support/server.hpp"
#include "block.hpp"
#include "weft/weft.hpp"

namespace {

void send(weft::io::stream s) {
  for (;;) {
    std::uint32_t left = 0;
    s.read_exactly(std::as_writable_bytes(std::span(&left, 1)));
    while (left > 0) {
      const auto piece = bench::block().substr(0, left);
      s.write_all(piece);
      left -= static_cast<std::uint32_t>(piece.size());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv);
  return weft::run(
      [&] {
        weft::io::signals stop{SIGTERM, SIGINT};
        weft::io::server server(weft::io::listen(weft::io::endpoint::loopback(given.port)), send,
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
