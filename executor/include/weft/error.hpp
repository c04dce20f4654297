#pragma once
// The errors weft throws. Each says what happened, where, and what to do.

#include <cstdint>
#include <stdexcept>
#include <string>

namespace weft {

enum class cancel_reason : std::uint8_t { user, deadline, sibling_failed, shutdown };

constexpr const char* to_string(cancel_reason reason) noexcept {
  switch (reason) {
    case cancel_reason::user:
      return "user";
    case cancel_reason::deadline:
      return "deadline";
    case cancel_reason::sibling_failed:
      return "sibling failed";
    case cancel_reason::shutdown:
      return "shutdown";
  }
  return "unknown";
}

/// Thrown by a wait inside a cancelled scope. Deliberately not a std::exception, so that
/// `catch (const std::exception&)` cannot swallow it: let it pass, or rethrow it.
class cancelled {
 public:
  cancelled(cancel_reason reason, std::uint64_t scope, std::uint64_t by) noexcept
      : reason_(reason), scope_(scope), by_(by) {}

  [[nodiscard]] cancel_reason reason() const noexcept { return reason_; }
  /// The id of the scope that was cancelled; a task's own scope has the task's id.
  [[nodiscard]] std::uint64_t scope() const noexcept { return scope_; }
  /// The id of the task that asked; 0 when it was no task (a deadline, shutdown, a plain thread).
  [[nodiscard]] std::uint64_t by() const noexcept { return by_; }
  [[nodiscard]] const char* what() const noexcept { return to_string(reason_); }

 private:
  cancel_reason reason_;
  std::uint64_t scope_;
  std::uint64_t by_;
};

/// A deadline passed before the work was done.
class timed_out : public std::runtime_error {
 public:
  timed_out() : std::runtime_error("timed out: the deadline passed before the work was done") {}
  explicit timed_out(const std::string& what) : std::runtime_error(what) {}
};

/// A lazy was awaited a second time.
class already_awaited : public std::logic_error {
 public:
  already_awaited()
      : std::logic_error("already awaited: a lazy runs once; spawn() it and keep the future to await it often") {}
};

/// A promise was destroyed before it was given a value or an exception.
class broken_promise : public std::logic_error {
 public:
  broken_promise() : std::logic_error("broken promise: the promise was destroyed before it was set") {}
};

/// A promise was set twice.
class promise_already_set : public std::logic_error {
 public:
  promise_already_set() : std::logic_error("promise already set: a promise takes one value or one exception") {}
};

/// A future or promise that refers to nothing was used.
class no_state : public std::logic_error {
 public:
  no_state() : std::logic_error("no state: this future or promise is default-constructed or was moved from") {}
};

/// A move-only result was to be moved out while other handles to it exist.
class future_shared : public std::logic_error {
 public:
  future_shared()
      : std::logic_error(
            "future shared: the result cannot be copied, and other handles to it exist; "
            "call get() on an lvalue for a reference") {}
};

/// Something that needs a running runtime was used outside one.
class no_runtime : public std::logic_error {
 public:
  explicit no_runtime(const std::string& what)
      : std::logic_error("no runtime: " + what + " needs a running weft::run or weft::runtime") {}
};

/// A wait was called inside a oneTBB algorithm that weft did not start, or more bodies waited than oneTBB can bear.
class wait_in_algorithm : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// A channel was used that is closed (and, for a receiver, drained).
class channel_closed : public std::runtime_error {
 public:
  channel_closed() : std::runtime_error("channel closed: close() was called, or the channel was destroyed") {}
};

/// A stream or other object of one loop was used on another.
class wrong_loop : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// A wait that could never end, or that was called where nothing can be suspended.
class bad_wait : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// No stack could be had for a task: the cap of config.max_stacks, or the system's memory, is used up.
class out_of_stacks : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace weft
