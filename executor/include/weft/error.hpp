#pragma once
// The errors weft throws. Each says what happened, where, and what to do.

#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

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

/// Work was refused, for there is too much of it: a server answers 503 with Retry-After.
class overloaded : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
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

/// A wait that could never end, or that was called where nothing can be suspended; in a debug build also one of a task
/// that has changed the floating-point environment of its thread.
class bad_wait : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// No stack could be had for a task: the cap of config.max_stacks, or the system's memory, is used up.
class out_of_stacks : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Several errors at once, in the order in which they came. One that holds another group keeps it as it is.
class exception_group : public std::runtime_error {
 public:
  explicit exception_group(std::vector<std::exception_ptr> errors);

  [[nodiscard]] std::span<const std::exception_ptr> exceptions() const noexcept { return *errors_; }

  /// Python's except*: the errors that are an E, and the others; groups inside are taken apart. Handle the first, then
  /// rethrow() the second.
  template <class E>
  [[nodiscard]] std::pair<std::vector<std::exception_ptr>, std::vector<std::exception_ptr>> split() const {
    std::pair<std::vector<std::exception_ptr>, std::vector<std::exception_ptr>> parts;
    for (const std::exception_ptr& error : flat()) (is<E>(error) ? parts.first : parts.second).push_back(error);
    return parts;
  }

  /// Throws what these errors come to: nothing for none, the one, or a group.
  static void rethrow(std::vector<std::exception_ptr> errors);

 private:
  template <class E>
  static bool is(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const E&) {
      return true;
    } catch (...) {
      return false;
    }
  }
  [[nodiscard]] std::vector<std::exception_ptr> flat() const;

  std::shared_ptr<const std::vector<std::exception_ptr>> errors_;  // shared: a copy of an exception must not throw
};

namespace detail {
/// What an error says of itself, for reports.
std::string text_of(const std::exception_ptr& error);
}  // namespace detail

}  // namespace weft
