// The mixed load on weft: small requests are answered on the loop, heavy ones by spawn_cpu.

#include <csignal>
#include <cstddef>
#include <span>

#include "../support/server.hpp"
#include "frame.hpp"
#include "weft/weft.hpp"

namespace {

void serve(weft::io::stream client) {
  try {
    for (bench::frame request;;) {
      client.read_exactly(std::as_writable_bytes(std::span(request)));
      const bench::frame answer =
          bench::rounds_of(request) == 0 ? request : weft::spawn_cpu([&] { return bench::derive_key(request); }).get();
      client.write_all(std::as_bytes(std::span(answer)));
    }
  } catch (const weft::io::end_of_stream&) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv, weft::usable_cores());
  return weft::run(
      [&] {
        weft::io::signals stop{SIGTERM, SIGINT};
        weft::io::server server(weft::io::listen(weft::io::endpoint::loopback(given.port)), serve);
        auto serving = weft::spawn([&] { return server.run(); });
        bench::announce(server.local().port());
        stop.wait();
        server.stop();
        serving.get();
        return 0;
      },
      {.loops = given.threads, .cpu_workers = given.threads});
}
