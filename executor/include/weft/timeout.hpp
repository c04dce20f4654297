#pragma once
// Work under a deadline.

#include <chrono>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/result.hpp"

namespace weft {

namespace detail {

/// A function is called; a future or a lazy is awaited (one passed as an rvalue is owned).
template <class F>
decltype(auto) call_or_get(F&& f) {
  if constexpr (std::is_invocable_v<F>)
    return std::invoke(std::forward<F>(f));
  else
    return std::forward<F>(f).get();
}

template <class F>
using call_or_get_t = decltype(call_or_get(std::declval<F>()));

}  // namespace detail

/// Runs f in the caller, or awaits a future or lazy, for a time at most. When the time is up the work is cancelled and
/// has ended before timed_out is thrown. Work that finishes all the same keeps its result.
///
/// Suspends: as f does.
/// Cancel:   throws cancelled; f has ended.
/// Threads:  any agent.
/// Ordering: f runs in the caller.
/// Throws:   timed_out; what f throws.
template <class Rep, class Period, class F>
detail::call_or_get_t<F> timeout(std::chrono::duration<Rep, Period> duration, F&& f) {
  const detail::timed_scope scope(deadline::after(duration));
  try {
    return detail::call_or_get(std::forward<F>(f));
  } catch (const cancelled& c) {
    if (!scope.owns(c)) throw;
  }
  throw timed_out();
}

/// Like timeout(), but running out of time is no error: gives false or an empty optional. f returning void gives true.
///
/// Suspends: as f does.
/// Cancel:   throws cancelled; f has ended.
/// Threads:  any agent.
/// Ordering: f runs in the caller.
/// Throws:   what f throws.
template <class Rep, class Period, class F>
auto move_on_after(std::chrono::duration<Rep, Period> duration, F&& f) {
  using T = std::remove_cvref_t<detail::call_or_get_t<F>>;
  using R = std::conditional_t<std::is_void_v<T>, bool, std::optional<value_or_unit<T>>>;
  const detail::timed_scope scope(deadline::after(duration));
  try {
    if constexpr (std::is_void_v<T>) {
      detail::call_or_get(std::forward<F>(f));
      return true;
    } else {
      return R(detail::call_or_get(std::forward<F>(f)));
    }
  } catch (const cancelled& c) {
    if (!scope.owns(c)) throw;
  }
  return R{};
}

}  // namespace weft
