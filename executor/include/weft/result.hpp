#pragma once
// A value or the error that came instead of it.

#include <exception>
#include <type_traits>
#include <utility>
#include <variant>

namespace weft {

/// How `void` is spelt where a value is needed: an element of a tuple, a result<void>.
template <class T>
using value_or_unit = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// One outcome of gather_results: a value, or the exception that came instead.
template <class T>
class result {
 public:
  using value_type = value_or_unit<T>;

  result(value_type value) : outcome_(std::in_place_index<0>, std::move(value)) {}
  result(std::exception_ptr error) noexcept : outcome_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool has_value() const noexcept { return outcome_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  /// The value; rethrows the error when there is none.
  value_type& value() & { return check(), *std::get_if<0>(&outcome_); }
  const value_type& value() const& { return check(), *std::get_if<0>(&outcome_); }
  value_type&& value() && { return check(), std::move(*std::get_if<0>(&outcome_)); }

  /// The error; null when there is a value.
  [[nodiscard]] std::exception_ptr error() const noexcept {
    const auto* error = std::get_if<1>(&outcome_);
    return error ? *error : nullptr;
  }

 private:
  void check() const {
    if (const auto* error = std::get_if<1>(&outcome_)) std::rethrow_exception(*error);
  }

  std::variant<value_type, std::exception_ptr> outcome_;
};

}  // namespace weft
