// Counts what operator new gives and operator delete takes back, for tests that look for leaks.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "weft_test.hpp"

namespace {
constinit std::atomic<std::int64_t> live{0};
constinit thread_local std::int64_t to_fail = 0;
}  // namespace

namespace weft::testing {
std::int64_t live_allocations() noexcept { return live.load(std::memory_order_relaxed); }
void fail_allocation(std::int64_t nth) noexcept { to_fail = nth; }
bool allocation_failed() noexcept { return to_fail <= 0; }
}  // namespace weft::testing

// The other forms of new and delete call these. Sanitizers have their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

void* counted(void* memory) {
  if (memory && to_fail > 0 && --to_fail == 0) {
    std::free(memory);
    memory = nullptr;
  }
  if (!memory) throw std::bad_alloc();
  live.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void release(void* memory) noexcept {
  if (memory) live.fetch_sub(1, std::memory_order_relaxed);
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) { return counted(std::malloc(size == 0 ? 1 : size)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<std::size_t>(alignment);
  return counted(std::aligned_alloc(unit, (size + unit - 1) / unit * unit));
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

#endif
