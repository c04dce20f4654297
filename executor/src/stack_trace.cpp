#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sstream>
#include <thread>

#include "inspect_core.hpp"

namespace weft::detail {
namespace {

// One request at a time. The thread asked writes its frames from a signal handler; the asker polls for them.
std::mutex asking;
std::array<void*, 48> frames;
std::atomic<int> frame_count{-1};

void answer(int) {
  const int saved = errno;
  frame_count.store(::backtrace(frames.data(), static_cast<int>(frames.size())), std::memory_order_release);
  errno = saved;
}

std::string name_of(void* address) {
  std::ostringstream out;
  Dl_info info{};
  if (::dladdr(address, &info) && info.dli_sname) {
    int status = 0;
    char* plain = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
    out << (status == 0 && plain ? plain : info.dli_sname);
    std::free(plain);
  } else if (info.dli_fname) {
    // For addr2line: the offset in the file.
    out << info.dli_fname << "(+0x" << std::hex
        << reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(info.dli_fbase) << ")";
  } else {
    out << address;
  }
  return out.str();
}

}  // namespace

std::string stack_of_thread(unsigned long thread) {
  const std::lock_guard lock(asking);
  // backtrace() loads libgcc the first time, which a handler must not do.
  static const bool warm = [] {
    void* one[1];
    return ::backtrace(one, 1) > 0;
  }();
  (void)warm;
  // SIGURG is ignored by default, so a program has no use for it but sockets' urgent data (as Go reasons too). It is
  // borrowed for the moment of the question.
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = answer;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  frame_count.store(-1, std::memory_order_relaxed);
  if (::sigaction(SIGURG, &action, &before) != 0) return {};
  int count = -1;
  if (::pthread_kill(static_cast<pthread_t>(thread), SIGURG) == 0)
    for (int i = 0; i < 200 && (count = frame_count.load(std::memory_order_acquire)) < 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  // One that did not answer may still do so: keep the handler then, it is harmless.
  if (count < 0) return {};
  ::sigaction(SIGURG, &before, nullptr);
  std::string text;
  for (int i = 2; i < count; ++i) text += "    " + name_of(frames[static_cast<std::size_t>(i)]) + "\n";  // past handler
  return text;
}

}  // namespace weft::detail
