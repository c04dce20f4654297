#pragma once
// What the servers in C++ have in common: their command line, and the line that tells the load where they are.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace bench {

/// NAME PORT [THREADS]: port 0 takes any free one.
struct server_arguments {
  std::uint16_t port = 0;
  unsigned threads = 1;

  server_arguments(int argc, char** argv, unsigned default_threads = 1) : threads(default_threads) {
    const bool fine = argc == 2 || argc == 3;
    if (fine) port = static_cast<std::uint16_t>(std::atoi(argv[1]));
    if (argc == 3) threads = static_cast<unsigned>(std::atoi(argv[2]));
    if (fine && threads > 0) return;
    std::fprintf(stderr, "usage: %s PORT [THREADS]\n", argv[0]);
    std::exit(2);
  }
};

/// Whoever started the server waits for this line.
inline void announce(std::uint16_t port) { std::fprintf(stderr, "serving 127.0.0.1:%u\n", unsigned{port}); }

}  // namespace bench
