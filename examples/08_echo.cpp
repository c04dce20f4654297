// An echo server: whatever a client sends, it gets back. The smallest server there is, and yet it has what any needs:
// limits for clients that are silent, connections spread over all cores, and an end in order.
//
// Run it: build/dev/examples/08_echo --port 7000
//         (port 0 takes any free one; also --loops, --silence-ms, --grace-ms and --connections: see below)
//
//     nc localhost 7000            type, and see it twice
//
// Each connection is a fiber that reads and writes as if it were alone. A client that says nothing for a minute, or
// takes nothing back, is hung up on; nobody else notices. At the cap new clients wait in the system's queue. On SIGINT
// (Ctrl-C) or SIGTERM the server takes no more, gives those that are there a second to end, and ends with a line such
// as
//
//     stopped: 12 connections, 3456 bytes, 0 failed, 0 cut off

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <span>

#include <weft/weft.hpp>

#include "support/arguments.hpp"

using std::chrono::milliseconds;

int main(int argc, char** argv) try {
  arguments given(argc, argv);
  const auto port = given.take<std::uint16_t>("--port", 7000);
  const weft::config config{.loops = given.take("--loops", weft::usable_cores())};
  weft::io::serve_options limits;
  limits.max_connections = given.take<std::size_t>("--connections", 10'000);
  limits.first_byte = limits.idle = limits.write_stall = given.take("--silence-ms", milliseconds(60'000));
  limits.grace = milliseconds(given.take("--grace-ms", 1000u));
  given.finish();

  return weft::run(
      [&] {
        std::atomic<std::uint64_t> bytes = 0;
        weft::io::server server(
            weft::io::listen(weft::io::endpoint::loopback(port)),
            [&](weft::io::stream client) {
              char some[16 * 1024];  // of the fiber's own stack
              while (const std::size_t n = client.read_some(std::span(some))) {
                client.write_all(std::string_view(some, n));
                bytes += n;
              }
            },
            limits);

        weft::io::signals stop{SIGINT, SIGTERM};
        weft::io::serve_report did;
        weft::with_group([&](weft::task_group& both) {  // when serving fails, nobody waits for a signal
          auto serving = both.spawn([&] { return server.run(); });
          std::cout << "listening on " << to_string(server.local()) << std::endl;
          stop.wait();
          server.stop();
          did = serving.get();
        });
        std::cout << "stopped: " << did.accepted << " connections, " << bytes << " bytes, " << did.failed << " failed, "
                  << did.cancelled << " cut off" << std::endl;
        return 0;
      },
      config);
} catch (const std::exception& error) {
  std::cerr << "08_echo: " << error.what() << std::endl;
  return 1;
}
