#pragma once
// Programs that a test talks to.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "weft/io/unique_fd.hpp"
#include "weft/spawn.hpp"

namespace weft::testing {

/// A process, its input and output as descriptors; killed at the end.
class process {
 public:
  /// `third` becomes its descriptor 3.
  explicit process(std::vector<std::string> command, int third = -1) {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    EXPECT_EQ(::pipe2(in.data(), O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out.data(), O_CLOEXEC), 0);
    input = io::unique_fd(in[1]);
    output = io::unique_fd(out[0]);
    const io::unique_fd theirs_in(in[0]);
    const io::unique_fd theirs_out(out[1]);
    ::posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    if (third >= 0) ::posix_spawn_file_actions_adddup2(&actions, third, 3);
    ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    std::vector<char*> arguments;
    for (auto& c : command) arguments.push_back(c.data());
    arguments.push_back(nullptr);
    EXPECT_EQ(::posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  ~process() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  /// Waits for its end; gives its status.
  int wait() {
    return spawn_blocking([this] {
             int status = -1;
             ::waitpid(std::exchange(pid_, -1), &status, 0);
             return status;
           })
        .get();
  }

  /// Reads its output until `what` is there.
  std::string read_to(const std::string& what) {
    return spawn_blocking([this, what] {
             std::string all;
             char c = 0;
             while (all.find(what) == all.npos && ::read(output.get(), &c, 1) == 1) all += c;
             return all;
           })
        .get();
  }
  void write(const std::string& text) {
    EXPECT_EQ(::write(input.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  io::unique_fd input;
  io::unique_fd output;

 private:
  ::pid_t pid_ = -1;
};

}  // namespace weft::testing
