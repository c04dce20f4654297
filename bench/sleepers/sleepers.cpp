// A million sleeping fibers: what each costs.
//
// Usage: sleepers [count]. Spawns the fibers, lets all of them fall asleep, reads what is resident, wakes them and
// joins them. Prints, for each, the bytes resident, the page tables beside them, and the CPU time, as JSON.

#include <sys/resource.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "weft/weft.hpp"

namespace {

// A line of /proc/self/status, in bytes.
std::uint64_t status(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1)) * 1024;
  return 0;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  char* rest = nullptr;
  const std::size_t count = argc > 1 ? std::strtoull(argv[1], &rest, 10) : 1'000'000;
  if (count == 0 || argc > 2 || (rest && *rest != '\0')) {
    std::cerr << "usage: sleepers [COUNT]\n";
    return 2;
  }
  const bool ok = weft::run(
      [count] {
        const auto resident = status("VmRSS");
        const auto tables = status("VmPTE");
        const double cpu = cpu_seconds();
        std::size_t woken = 0;
        const auto wake_at = weft::clock::now() + std::chrono::seconds(count / 50'000 + 1);
        std::vector<weft::future<void>> all;
        all.reserve(count);
        for (std::size_t i = 0; i < count; ++i)
          all.push_back(weft::spawn([&woken, wake_at] {
            weft::sleep_until(wake_at);
            ++woken;
          }));
        weft::yield();
        weft::sleep_for(std::chrono::milliseconds(100));
        const auto asleep = status("VmRSS");
        const auto tables_asleep = status("VmPTE");
        const bool in_time = weft::clock::now() < wake_at;
        for (auto& f : all) f.get();
        if (!in_time) {
          std::cerr << "the first woke before the last slept: the figures would be too low\n";
          return false;
        }
        const auto each = [count](auto sum) { return static_cast<double>(sum) / static_cast<double>(count); };
        std::cout << "{\"bytes\": " << each(asleep - resident)
                  << ", \"page_table_bytes\": " << each(tables_asleep - tables)
                  << ", \"cpu_us\": " << each(cpu_seconds() - cpu) * 1e6 << "}\n";
        return woken == count;
      },
      {.loops = 1, .stall_after = std::chrono::nanoseconds(0)});
  return ok ? 0 : 1;
}
