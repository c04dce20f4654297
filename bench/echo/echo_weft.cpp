// TCP echo on weft: one fiber a connection. Rivals: echo_epoll.c. Load: load.cpp.
//
//   echo_weft PORT [LOOPS]     serves (port 0: any) until SIGTERM or SIGINT, then prints what each request cost.
//   A run:  ./echo_epoll 7000 & ./echo_weft 7001 & ./load 50 64 10 127.0.0.1:7000 127.0.0.1:7001; kill %1 %2

#include <sys/resource.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "weft/weft.hpp"

namespace {

std::atomic<std::uint64_t> requests{0};

void echo(weft::io::stream s) {
  struct count {
    std::uint64_t served = 0;
    ~count() { requests += served; }
  } mine;
  std::array<std::byte, 1024> buffer;
  while (const std::size_t n = s.read_some(buffer)) {
    s.write_all(std::span(buffer).first(n));
    ++mine.served;
  }
}

double seconds(const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: echo_weft PORT [LOOPS]\n"), 2;
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  weft::config settings;
  settings.loops = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1;
  settings.cpu_workers = 1;
  return weft::run(
      [port] {
        weft::io::signals stop{SIGTERM, SIGINT};
        weft::io::server server(weft::io::listen(weft::io::endpoint::loopback(port)), echo);
        auto serving = weft::spawn([&] { return server.run(); });
        std::fprintf(stderr, "echo_weft: serving %s\n", weft::io::to_string(server.local()).c_str());
        stop.wait();
        server.stop();
        serving.get();
        rusage used{};
        ::getrusage(RUSAGE_SELF, &used);
        const auto n = static_cast<double>(requests.load());
        std::printf("{\"server\": \"weft\", \"requests\": %.0f, \"cpu_us_per_request\": %.3f, \"user_us\": %.3f}\n", n,
                    (seconds(used.ru_utime) + seconds(used.ru_stime)) / n * 1e6, seconds(used.ru_utime) / n * 1e6);
        return 0;
      },
      settings);
}
