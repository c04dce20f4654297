#pragma once
// The mixed load on weft: small requests are answered on the loop, heavy ones by spawn_cpu.

#include <csignal>
#include <cstddef>
#include <span>

#include "../support/server.hpp"
#include "frame.hpp"
#include "weft/weft.hpp"

namespace bench {

inline void serve_one(weft::io::stream client) {
  try {
    for (frame request;;) {
      client.read_exactly(std::as_writable_bytes(std::span(request)));
      const frame answer =
          rounds_of(request) == 0 ? request : weft::spawn_cpu([&] { return derive_key(request); }).get();
      client.write_all(std::as_bytes(std::span(answer)));
    }
  } catch (const weft::io::end_of_stream&) {
  }
}

inline int serve_on_weft(int argc, char** argv, weft::loop_scheduling loops) {
  const server_arguments given(argc, argv, weft::usable_cores());
  return weft::run(
      [&] {
        weft::io::signals stop{SIGTERM, SIGINT};
        weft::io::server server(weft::io::listen(weft::io::endpoint::loopback(given.port)), serve_one);
        auto serving = weft::spawn([&] { return server.run(); });
        announce(server.local().port());
        stop.wait();
        server.stop();
        serving.get();
        return 0;
      },
      {.loops = given.threads, .cpu_workers = given.threads, .loop_threads = loops});
}

}  // namespace bench
