#include "weft/await.hpp"

#include <exception>
#include <new>

#include "weft/error.hpp"

namespace weft::detail {

// Its end is what wakes the caller. A coroutine counts as suspended when await_suspend() is called, so the caller may
// destroy it from then on; nothing of it is touched after resume().
struct resumption::waking {
  struct promise_type {
    explicit promise_type(resumption& r) noexcept : whose(r) {}
    static void* operator new(std::size_t size, resumption& r) {
      return size <= sizeof(r.frame_) ? static_cast<void*>(r.frame_) : ::operator new(size);
    }
    static void operator delete(void* memory, std::size_t size) noexcept {
      if (size > sizeof(frame_)) ::operator delete(memory);
    }
    waking get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct awaiter {
        bool await_ready() noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> h) noexcept { h.promise().whose.resume(); }
        void await_resume() noexcept {}
      };
      return awaiter{};
    }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }

    resumption& whose;
  };

  static waking frame(resumption&) { co_return; }

  std::coroutine_handle<> handle;
};

resumption::resumption() : caller_(waiting_agent()) {
  if (caller_.what == agent::kind::body)
    throw wait_in_algorithm(
        "await() of another library's awaitable inside the body of a oneTBB algorithm; "
        "do it in a spawn_cpu of its own, and get() that in the body");
  const waiter allowed(caller_, wait_kind::other);  // that a wait is allowed here must be known before anything begins
  handle_ = waking::frame(*this).handle;
}

void resumption::resume() noexcept {
  // acq_rel: pairs with wait(). If the caller does not wait yet, it and this object may be gone right after.
  if (state_.exchange(resumed, std::memory_order_acq_rel) != waiting) return;
  const waker caller = who_;
  caller.wake();
}

void resumption::wait() noexcept {
  waiter w(caller_, wait_kind::other, this);
  who_ = w.handle();
  std::uint8_t expected = running;
  if (state_.compare_exchange_strong(expected, waiting, std::memory_order_acq_rel)) w.suspend_shielded();
}

}  // namespace weft::detail
