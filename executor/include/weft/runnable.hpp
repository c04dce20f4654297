#pragma once
// What a loop can be asked to run.

#include <cstdint>
#include <exception>

namespace weft::detail {

/// An intrusive entry of a ready queue, an inbox or a steal ring. It is in at most one of them at a time.
class runnable {
 public:
  enum class kind : std::uint8_t {
    start,   ///< run() on a fresh stack
    resume,  ///< an `agent`: switch to its fiber, which is parked
    call     ///< run() at once on the loop's own stack: short, waits for nothing, runs no user code
  };

  virtual void run() noexcept = 0;
  /// Called instead of run() when no stack could be had.
  virtual void fail(std::exception_ptr error) noexcept = 0;

  runnable* next = nullptr;
  std::uint32_t stack_size = 0;  ///< wanted by a `start`, in bytes, whole pages; 0 for the runtime's default
  kind how = kind::start;        // last: behind it there is room for the first bytes of a derived class

 protected:
  explicit runnable(kind k) noexcept : how(k) {}
  ~runnable() = default;
};

/// A `call` that posts itself, runs once and owns itself.
class message : public runnable {
 public:
  void fail(std::exception_ptr) noexcept final {}

 protected:
  message() noexcept : runnable(kind::call) {}
  ~message() = default;
};

}  // namespace weft::detail
