#include "stack_pool.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "sanitizer.hpp"
#include "weft/error.hpp"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  // Linux 6.13, include/uapi/asm-generic/mman-common.h
#endif

namespace weft::detail {
namespace {

constexpr std::size_t largest_slab = std::size_t{256} << 20;

std::mutex everywhere_mutex;  // writers of the list only; taken once a slab

// Address space that is reserved once, for the life of the process. Slabs are cut from it in turn; when none is left,
// from the beginning again.
class reserved_space {
 public:
  static constexpr std::size_t size = std::size_t{32} << 30;

  static reserved_space& get() {
    static reserved_space s;
    return s;
  }

  /// Null when there is none.
  void* take(std::size_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    if (!base_ || size - used_ < bytes) return nullptr;
    void* const slab = base_ + used_;
    if (::mprotect(slab, bytes, PROT_READ | PROT_WRITE) != 0) return nullptr;
    used_ += bytes;
    live_ += bytes;
    return slab;
  }

  void give_back(void* slab, std::size_t bytes) noexcept {
    // A new mapping in its place: the old one's pages and guards go. (With ASan it stays readable, see ~stack_pool.)
#if defined(WEFT_ASAN)
    constexpr int access = PROT_READ | PROT_WRITE;
#else
    constexpr int access = PROT_NONE;
#endif
    ::mmap(slab, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    const std::lock_guard lock(mutex_);
    live_ -= bytes;
    if (live_ == 0) used_ = 0;
  }

 private:
  reserved_space() noexcept {
    void* const all = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all != MAP_FAILED) base_ = static_cast<std::byte*>(all);
  }

  std::mutex mutex_;
  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
  std::size_t live_ = 0;
};

std::string describe(const char* call, int error) { return std::string(call) + ": " + std::strerror(error); }

}  // namespace

std::atomic<stack_pool::slab*> stack_pool::everywhere_{nullptr};

std::size_t page_size() noexcept {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

std::size_t round_to_pages(std::size_t bytes) noexcept {
  const auto page = page_size();
  return (bytes + page - 1) / page * page;
}

stack_pool::stack_pool(std::size_t size, std::size_t control, std::size_t most, stack_guard guard, slab_place place)
    : size_(round_to_pages(size)),
      control_((control + 63) / 64 * 64),
      stride_(size_ + page_size()),  // the guard comes on top of the size that was asked for
      most_(most),
      place_(place),
      guard_(guard) {
  if (place == slab_place::above_later_threads) reserved_space::get();
}

stack_pool::~stack_pool() {
  const std::lock_guard lock(everywhere_mutex);
  for (slab* s = slabs_.load(); s;) {
    // Unlink from the list of all slabs.
    if (everywhere_.load() == s)
      everywhere_ = s->next_anywhere.load();
    else
      for (slab* at = everywhere_; at; at = at->next_anywhere)
        if (at->next_anywhere == s) {
          at->next_anywhere = s->next_anywhere.load();
          break;
        }
    const std::size_t bytes = s->count * s->stride;
    if (s->reserved) {
      reserved_space::get().give_back(s->base, bytes);
      delete std::exchange(s, s->older);
      continue;
    }
#if defined(WEFT_ASAN)
    // oneTBB moves its threads between stacks and does not say so. Where a body of an algorithm has waited on a stack
    // of ours, ASan may for ever take that for the thread's, and its search for leaks will read it.
    ::madvise(s->base, bytes, MADV_DONTNEED);
#else
    ::munmap(s->base, bytes);
#endif
    delete std::exchange(s, s->older);
  }
}

void stack_pool::add_slab() {
  const slab* newest = slabs_.load();
  auto count = newest ? newest->count * 4 : std::size_t{16};
  count =
      std::max<std::size_t>(1, std::min({count, std::max<std::size_t>(1, largest_slab / stride_), most_ - carved()}));
  void* base = place_ == slab_place::anywhere ? nullptr : reserved_space::get().take(count * stride_);
  const bool reserved = base != nullptr;
  if (!reserved)
    base = ::mmap(nullptr, count * stride_, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (base == MAP_FAILED)
    throw out_of_stacks("out of stacks: " + std::to_string(carved()) + " of " + std::to_string(size_ / 1024) +
                        " KiB are in use and the system has no address space for more (" + describe("mmap", errno) +
                        "); lower config.stack_size or spawn fewer tasks at once");
  // On a huge-page mapping one touched byte commits 2 MiB.
  ::madvise(base, count * stride_, MADV_NOHUGEPAGE);
  auto s = std::make_unique<slab>();
  s->base = static_cast<std::byte*>(base);
  s->count = count;
  s->stride = stride_;
  s->control_size = control_;
  s->reserved = reserved;
  s->older = slabs_.load();
  const std::lock_guard lock(everywhere_mutex);
  s->next_anywhere = everywhere_.load();
  slabs_.store(s.get(), std::memory_order_release);
  everywhere_.store(s.release(), std::memory_order_release);
}

bool stack_pool::protect(std::byte* low) noexcept {
  if (guard_ != stack_guard::protect) {
    if (::madvise(low, page_size(), MADV_GUARD_INSTALL) == 0) {
      guard_ = stack_guard::install;
      return true;
    }
    // EINVAL: an older kernel, or locked memory (mlockall), where guard regions do not exist.
    if (guard_ == stack_guard::install) {
      // It worked before, so this slab alone lies in locked memory.
      return ::mprotect(low, page_size(), PROT_NONE) == 0;
    }
    guard_ = stack_guard::protect;
  }
  return ::mprotect(low, page_size(), PROT_NONE) == 0;
}

stack stack_pool::reserve() {
  if (carved() >= most_)
    throw out_of_stacks("out of stacks: all " + std::to_string(most_) +
                        " stacks that config.max_stacks allows are in use");
  slab* s = slabs_.load();
  if (!s || s->used.load() == s->count) {
    add_slab();
    s = slabs_.load();
  }
  const auto i = s->used.load(std::memory_order_relaxed);
  std::byte* const low = s->base + i * stride_;
  if (!protect(low))
    throw out_of_stacks("out of stacks: a guard page could not be set after " + std::to_string(carved()) + " stacks (" +
                        describe("mprotect", errno) +
                        "); raise vm.max_map_count, or use Linux 6.13 or later, which needs no mapping per guard");
  return {low + page_size(), low + stride_ - control_};
}

void stack_pool::publish() noexcept {
  carved_.fetch_add(1, std::memory_order_relaxed);
  slabs_.load(std::memory_order_relaxed)->used.fetch_add(1, std::memory_order_release);  // pairs with for_each()
}

bool stack_pool::trim(const stack& s, const void* keep_from) noexcept {
  const auto page = page_size();
  const auto from = reinterpret_cast<std::uintptr_t>(s.low);
  // One page of slack below what is in use, so that an ordinary task does not fault it in again.
  const auto keep = reinterpret_cast<std::uintptr_t>(keep_from) / page * page - page;
  if (keep <= from) return false;
  // Is the page just below in core? A stack that ran deeper than that went through it.
  unsigned char resident = 0;
  if (::mincore(reinterpret_cast<void*>(keep - page), page, &resident) != 0 || !(resident & 1)) return false;
  return ::madvise(s.low, keep - from, MADV_DONTNEED) == 0;
}

void* stack_pool::owner_of(const void* address) const noexcept {
  const auto* at = static_cast<const std::byte*>(address);
  for (const slab* s = slabs_.load(std::memory_order_acquire); s; s = s->older)
    if (at >= s->base && at < s->base + s->count * s->stride)
      return s->control(static_cast<std::size_t>(at - s->base) / s->stride);
  return nullptr;
}

void* stack_pool::owner_of_guard(const void* address, std::size_t& size) noexcept {
  const auto* at = static_cast<const std::byte*>(address);
  for (const slab* s = everywhere_.load(std::memory_order_acquire); s; s = s->next_anywhere.load()) {
    if (at < s->base || at >= s->base + s->count * s->stride) continue;
    const auto i = static_cast<std::size_t>(at - s->base) / s->stride;
    if (static_cast<std::size_t>(at - s->base) % s->stride >= page_size()) return nullptr;
    size = s->stride - page_size();
    return s->control(i);
  }
  return nullptr;
}

}  // namespace weft::detail
