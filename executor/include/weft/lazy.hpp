#pragma once
// asyncio's bare coroutine object: work that has been named but not begun.

#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "weft/error.hpp"

namespace weft {

/// Making one runs nothing. get() runs f inline, in the caller; spawn, gather and the rest take it where they take a
/// future. Either happens once.
template <class F>
class lazy {
 public:
  using result_type = std::invoke_result_t<F>;

  explicit lazy(F f) : body_(std::move(f)) {}
  lazy(lazy&& other) noexcept(std::is_nothrow_move_constructible_v<F>) : body_(std::move(other.body_)) {
    other.body_.reset();
  }
  lazy& operator=(lazy&&) = delete;

  /// Runs f here and gives its result.
  ///
  /// Suspends: as f does.
  /// Cancel:   as f does.
  /// Threads:  any.
  /// Ordering: f runs in the caller.
  /// Throws:   already_awaited the second time; what f throws.
  result_type get() { return std::invoke(take_body()); }

  /// Gives up the function, for those who start it elsewhere. Throws already_awaited when it is gone.
  F take_body() {
    if (!body_) throw already_awaited();
    F body = std::move(*body_);
    body_.reset();
    return body;
  }

 private:
  std::optional<F> body_;
};

template <class F>
lazy(F) -> lazy<F>;

namespace detail {
template <class T>
inline constexpr bool is_lazy = false;
template <class F>
inline constexpr bool is_lazy<lazy<F>> = true;
}  // namespace detail

}  // namespace weft
