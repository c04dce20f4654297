#pragma once
// What a server process has cost so far, seen from outside, so that every rival is measured by the same hand.

#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// A process, and the processes that it has started: a pool of Python workers is part of its server.
class process_bill {
 public:
  /// 0: none; then it costs nothing.
  explicit process_bill(pid_t server) : server_(server) {}

  /// Seconds of CPU time, by clock_getcpuclockid(3): nanoseconds, and threads that ended are counted.
  [[nodiscard]] double cpu_seconds() const {
    double sum = 0;
    for (const pid_t process : family()) {
      clockid_t clock{};
      timespec used{};
      if (::clock_getcpuclockid(process, &clock) == 0 && ::clock_gettime(clock, &used) == 0)
        sum += static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
    }
    return sum;
  }

  /// Bytes of memory that are resident now.
  [[nodiscard]] double resident_bytes() const {
    double pages = 0;
    for (const pid_t process : family()) {
      std::ifstream file("/proc/" + std::to_string(process) + "/statm");
      double all = 0;
      double resident = 0;
      if (file >> all >> resident) pages += resident;
    }
    return pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
  }

 private:
  // All descendants. /proc/PID/task/TID/children would tell, but not every kernel has it.
  [[nodiscard]] std::vector<pid_t> family() const {
    if (server_ == 0) return {};
    std::vector<std::pair<pid_t, pid_t>> parents;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::ifstream file(entry.path() / "stat");
      std::string line;
      std::getline(file, line);
      const auto after_name = line.rfind(')');  // "PID (a name) S PARENT ..."
      if (after_name != std::string::npos)
        parents.emplace_back(std::stoi(name), std::stoi(line.substr(after_name + 3)));
    }
    std::vector<pid_t> found{server_};
    for (std::size_t i = 0; i < found.size(); ++i)
      for (const auto& [process, parent] : parents)
        if (parent == found[i]) found.push_back(process);
    return found;
  }

  const pid_t server_;
};

}  // namespace bench
