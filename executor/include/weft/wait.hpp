#pragma once
// Waiting for futures and leaving them as they are.

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <ranges>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/deadline.hpp"
#include "weft/future.hpp"

namespace weft {

namespace detail {

/// What becomes ready once, and says no more. It lies in its owner, who outlives its waiters; nobody counts it.
class milestone final : public future_core {
 public:
  milestone() noexcept : future_core(one_hold) {}
  using future_core::publish;
  void request_cancel(cancel_reason, std::uint64_t) noexcept override {}
  [[nodiscard]] task_info producer() const override { return {}; }

 private:
  void destroy() noexcept override {}
};

/// One of the futures that a wait_any waits for, and the caller's place in its list.
struct any_input {
  explicit any_input(future_core& f) noexcept : what(&f) {}
  any_input(any_input&& other) noexcept : what(other.what) {}  // before it waits

  future_core* what;
  std::optional<future_waiter> place;
};

/// The first that is ready; the lowest index if several are. Empty when `until` passed first.
std::optional<std::size_t> wait_any(std::span<any_input> inputs, deadline until);

template <class T>
future_core& core_of(const future<T>& f) {
  if (!f.valid()) throw no_state();
  return *future_access::state(f);
}

/// A range whose elements are futures that outlive a look at them.
template <class R>
concept future_range = std::ranges::input_range<R> && std::is_lvalue_reference_v<std::ranges::range_reference_t<R>> &&
                       is_future<std::ranges::range_value_t<R>>;

}  // namespace detail

/// wait_any() until a time at most; empty when it passed first.
template <class... T>
  requires(sizeof...(T) > 0)
std::optional<std::size_t> wait_any_until(deadline until, const future<T>&... f) {
  std::array<detail::any_input, sizeof...(T)> inputs{detail::any_input(detail::core_of(f))...};
  return detail::wait_any(inputs, until);
}
template <detail::future_range Range>
std::optional<std::size_t> wait_any_until(deadline until, Range&& range) {
  std::vector<detail::any_input> inputs;
  for (const auto& f : range) inputs.emplace_back(detail::core_of(f));
  if (inputs.empty())
    throw std::invalid_argument("wait_any: the range is empty, and waiting for one of none would never end");
  return detail::wait_any(inputs, until);
}
/// The same for a time at most.
template <class Rep, class Period, class... A>
auto wait_any_for(std::chrono::duration<Rep, Period> duration, A&&... a) {
  return wait_any_until(deadline::after(duration), std::forward<A>(a)...);
}

/// Waits until one of the futures is ready and gives its place: the lowest if several are. Takes no result, throws none
/// of their errors, cancels nothing.
///
/// Suspends: a checkpoint always; switches when none is ready, else every 128th call.
/// Cancel:   throws cancelled; the work goes on.
/// Threads:  any agent, any loop; on a plain thread it blocks.
/// Ordering: what the producer of that future wrote is visible.
/// Throws:   no_state; for a range std::bad_alloc, and std::invalid_argument when it is empty.
template <class... T>
  requires(sizeof...(T) > 0)
std::size_t wait_any(const future<T>&... f) {
  return *wait_any_until(deadline::never(), f...);
}
template <detail::future_range Range>
std::size_t wait_any(Range&& range) {
  return *wait_any_until(deadline::never(), range);
}

/// wait_all() until a time at most; false when it passed first.
template <class... T>
bool wait_all_until([[maybe_unused]] deadline until, const future<T>&... f) {
  checkpoint();
  (void)(detail::core_of(f), ...);
  return (detail::core_of(f).wait(until) && ...);
}
template <detail::future_range Range>
bool wait_all_until(deadline until, Range&& range) {
  checkpoint();
  for (const auto& f : range)
    if (!detail::core_of(f).wait(until)) return false;
  return true;
}
/// The same for a time at most.
template <class Rep, class Period, class... A>
bool wait_all_for(std::chrono::duration<Rep, Period> duration, A&&... a) {
  return wait_all_until(deadline::after(duration), std::forward<A>(a)...);
}

/// Waits until all of the futures are ready, failed ones too. Takes no result, throws none of their errors, cancels
/// nothing.
///
/// Suspends: a checkpoint always; switches when one is not ready, else every 128th call.
/// Cancel:   throws cancelled; the work goes on.
/// Threads:  any agent, any loop; on a plain thread it blocks.
/// Ordering: what their producers wrote is visible.
/// Throws:   no_state; bad_wait when a task waits for itself.
template <class... T>
void wait_all(const future<T>&... f) {
  wait_all_until(deadline::never(), f...);
}
template <detail::future_range Range>
void wait_all(Range&& range) {
  wait_all_until(deadline::never(), range);
}

}  // namespace weft
