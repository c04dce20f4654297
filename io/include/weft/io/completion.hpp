#pragma once
// What an operation of Asio has to say when it completes, kept until whoever began it takes it.

#include <asio/cancellation_signal.hpp>
#include <cstddef>
#include <exception>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include "weft/error.hpp"

namespace weft::io::detail {

[[noreturn]] inline void raise(const std::error_code& e) { throw std::system_error(e); }
[[noreturn]] inline void raise(const std::exception_ptr& e) { std::rethrow_exception(e); }

template <class... Values>
struct as_value {
  using type = std::tuple<Values...>;
};
template <class Value>
struct as_value<Value> {
  using type = Value;
};
template <>
struct as_value<> {
  using type = void;
};
/// What a signature gives, and how many of its arguments tell of failure.
template <class... Args>
struct signature : as_value<Args...> {
  static constexpr std::size_t failures = 0;
};
template <class... Args>
struct signature<std::error_code, Args...> : as_value<Args...> {
  static constexpr std::size_t failures = 1;
};
template <class... Args>
struct signature<std::exception_ptr, Args...> : as_value<Args...> {
  static constexpr std::size_t failures = 1;
};

/// What a handler for void(Args...) was called with, or why it was not.
template <class... Args>
class completion {
  using its = signature<std::decay_t<Args>...>;
  using all = std::tuple<std::decay_t<Args>...>;

 public:
  using value_type = typename its::type;

  template <class... A>
  void set(A&&... args) noexcept {
    try {
      args_.emplace(std::forward<A>(args)...);
    } catch (...) {
      thrown_ = std::current_exception();
    }
  }
  /// An operation that was dropped has failed, too.
  [[nodiscard]] bool failed() const noexcept {
    if (!args_) return true;
    if constexpr (its::failures == 1)
      return static_cast<bool>(std::get<0>(*args_));
    else
      return false;
  }
  value_type take(std::error_code* to = nullptr) {
    if (thrown_) std::rethrow_exception(thrown_);
    if (!args_) throw broken_promise();
    if constexpr (its::failures == 1) {
      auto& failure = std::get<0>(*args_);
      if constexpr (std::is_same_v<decltype(failure), std::error_code&>) {
        if (to) *to = failure;
      } else {
        to = nullptr;
      }
      if (failure && !to) raise(failure);
    }
    return give(std::make_index_sequence<sizeof...(Args) - its::failures>());
  }

 private:
  template <std::size_t... I>
  value_type give(std::index_sequence<I...>) {
    if constexpr (sizeof...(I) > 0) return value_type(std::get<its::failures + I>(std::move(*args_))...);
  }

  std::optional<all> args_;
  std::exception_ptr thrown_;
};

/// Has `Operation` told, once, of its completion, or that there will be none. `Executor` is the handler's.
template <class Operation>
class handler {
 public:
  using executor_type = typename Operation::executor_type;
  using cancellation_slot_type = asio::cancellation_slot;

  explicit handler(Operation& o) noexcept : what_(&o), executor_(o.executor()), slot_(o.slot()) {}
  handler(handler&& other) noexcept
      : what_(std::exchange(other.what_, nullptr)), executor_(other.executor_), slot_(other.slot_) {}
  handler& operator=(handler&&) = delete;
  ~handler() {
    if (what_) what_->end();
  }

  template <class... A>
  void operator()(A&&... args) {
    Operation* const what = std::exchange(what_, nullptr);
    if (!what) return;
    what->result.set(std::forward<A>(args)...);
    what->end();
  }

  [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }
  [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return slot_; }

 private:
  Operation* what_;
  executor_type executor_;
  asio::cancellation_slot slot_;
};

}  // namespace weft::io::detail
