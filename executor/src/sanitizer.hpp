#pragma once
// What the sanitizers and Valgrind must be told about stacks: nothing in an ordinary build.

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define WEFT_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WEFT_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define WEFT_TSAN 1
#endif

#if defined(WEFT_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(WEFT_TSAN)
#include <sanitizer/tsan_interface.h>

#include <cstring>
#endif
#if defined(WEFT_VALGRIND)
#include <valgrind/valgrind.h>
#endif

namespace weft::detail {

/// The tools' view of one stack. A native thread's stack is learnt when it is first left.
struct stack_notes {
#if defined(WEFT_ASAN)
  const void* bottom = nullptr;
  std::size_t size = 0;
  void* fake = nullptr;
#endif
#if defined(WEFT_TSAN)
  void* fiber = nullptr;
#endif

  void created([[maybe_unused]] void* low, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(WEFT_ASAN)
    bottom = low;
    size = bytes;
#endif
#if defined(WEFT_TSAN)
    fiber = __tsan_create_fiber(0);
#endif
#if defined(WEFT_VALGRIND)
    (void)VALGRIND_STACK_REGISTER(low, static_cast<char*>(low) + bytes);
#endif
  }

  /// The stack will not run again; nobody is on it.
  void destroyed([[maybe_unused]] void* low, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(WEFT_ASAN)
    // Where use after return is looked for, locals live in memory apart (some 200 KB a stack), which is freed by
    // nothing but a last switch away from its stack. So we say that we go there, and that we come back for ever.
    void* ours = nullptr;
    const void* our_bottom = nullptr;
    std::size_t our_size = 0;
    __sanitizer_start_switch_fiber(&ours, bottom, size);
    __sanitizer_finish_switch_fiber(fake, &our_bottom, &our_size);
    __sanitizer_start_switch_fiber(nullptr, our_bottom, our_size);
    __sanitizer_finish_switch_fiber(ours, nullptr, nullptr);
    fake = nullptr;
    __asan_unpoison_memory_region(low, bytes);
#endif
#if defined(WEFT_TSAN)
    if (fiber) __tsan_destroy_fiber(fiber);
    fiber = nullptr;
#endif
  }

  /// Called on the native stack of a thread before it first switches.
  void native() noexcept {
#if defined(WEFT_TSAN)
    fiber = __tsan_get_current_fiber();
#endif
  }
};

// In line, whatever else is in a translation unit: TSan keeps a stack of calls for each fiber, and would find the call
// on one and its end on another.
[[gnu::always_inline]] inline void before_switch([[maybe_unused]] stack_notes& from,
                                                 [[maybe_unused]] stack_notes& to) noexcept {
#if defined(WEFT_ASAN)
  __sanitizer_start_switch_fiber(&from.fake, to.bottom, to.size);
#endif
#if defined(WEFT_TSAN)
  // A signal that interrupts a fiber is kept in TSan's notes of that fiber until it calls a function that TSan
  // intercepts; if it parks before, perhaps for ever. So it calls one now: what comes later is still kept, if rarely.
  static std::size_t (*volatile intercepted)(const char*) = std::strlen;
  (void)intercepted("");
  __tsan_switch_to_fiber(to.fiber, 0);
#endif
}

/// On the stack that was switched to. `me` is it, `from` is the one that was left.
[[gnu::always_inline]] inline void after_switch([[maybe_unused]] stack_notes& me,
                                                [[maybe_unused]] stack_notes& from) noexcept {
#if defined(WEFT_ASAN)
  const void* bottom = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(me.fake, &bottom, &size);
  if (!from.bottom) {  // a native stack, seen for the first time
    from.bottom = bottom;
    from.size = size;
  }
#endif
}

}  // namespace weft::detail
