#include "overflow.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <source_location>

#include "fiber_agent.hpp"
#include "stack_pool.hpp"

namespace weft::detail {
namespace {

struct sigaction earlier_segv;
struct sigaction earlier_bus;
std::mutex installing;
int users = 0;

// Async-signal-safe text.
class line {
 public:
  line& operator<<(const char* text) noexcept {
    while (*text && used_ < text_.size()) text_[used_++] = *text++;
    return *this;
  }
  line& operator<<(std::uint64_t n) noexcept {
    char digits[21];
    char* at = digits + 20;
    *at = '\0';
    do *--at = static_cast<char>('0' + n % 10);
    while (n /= 10);
    return *this << static_cast<const char*>(at);
  }
  ~line() {
    if (::write(STDERR_FILENO, text_.data(), used_) < 0) return;
  }

 private:
  std::array<char, 1024> text_;
  std::size_t used_ = 0;
};

void report(const agent& a, std::size_t size) noexcept {
  line out;
  out << "weft: stack overflow in task ";
  char name[sizeof(a.name) + 1] = {};
  for (std::size_t i = 0; i < sizeof(a.name); ++i) name[i] = a.name[i].load(std::memory_order_relaxed);
  if (name[0]) out << "\"" << name << "\" ";
  out << "(#" << a.task_id.load(std::memory_order_relaxed) << ")";
  if (const void* site_bits = a.site.load(std::memory_order_relaxed)) {
    std::source_location site;
    std::memcpy(static_cast<void*>(&site), &site_bits, sizeof(site_bits));
    out << ", spawned at " << site.file_name() << ":" << std::uint64_t{site.line()};
  }
  out << ", " << std::uint64_t{size / 1024} << " KiB; give it more with task_options.stack_size or config.stack_size\n";
}

void handle(int signal, siginfo_t* info, void*) {
  std::size_t size = 0;
  if (const void* control = stack_pool::owner_of_guard(info->si_addr, size))
    report(*static_cast<const fiber_agent*>(control), size);
  // Put the earlier handler back: the faulting instruction runs again, and what would have happened happens.
  ::sigaction(signal, signal == SIGBUS ? &earlier_bus : &earlier_segv, nullptr);
}

struct alternate_stack {
  void* memory = nullptr;
  static constexpr std::size_t size = 64 * 1024;
  ~alternate_stack() {
    if (!memory) return;
    stack_t off{};
    off.ss_flags = SS_DISABLE;
    ::sigaltstack(&off, nullptr);
    ::munmap(memory, size);
  }
};
thread_local alternate_stack tl_alternate;
thread_local bool tl_prepared = false;

}  // namespace

void install_overflow_reporter() {
  const std::lock_guard lock(installing);
  if (users++ > 0) return;
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGSEGV, &action, &earlier_segv);
  ::sigaction(SIGBUS, &action, &earlier_bus);
}

void remove_overflow_reporter() noexcept {
  const std::lock_guard lock(installing);
  if (--users > 0) return;
  ::sigaction(SIGSEGV, &earlier_segv, nullptr);
  ::sigaction(SIGBUS, &earlier_bus, nullptr);
}

void prepare_thread_for_overflow() noexcept {
  if (tl_prepared) return;
  tl_prepared = true;
  stack_t now{};
  if (::sigaltstack(nullptr, &now) == 0 && !(now.ss_flags & SS_DISABLE)) return;  // somebody gave it one
  void* memory = ::mmap(nullptr, alternate_stack::size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  stack_t mine{};
  mine.ss_sp = memory;
  mine.ss_size = alternate_stack::size;
  if (::sigaltstack(&mine, nullptr) == 0)
    tl_alternate.memory = memory;
  else
    ::munmap(memory, alternate_stack::size);
}

}  // namespace weft::detail
