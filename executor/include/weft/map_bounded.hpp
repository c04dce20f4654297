#pragma once
// A function over a range, a few elements at a time.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <ranges>
#include <source_location>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/cancel.hpp"
#include "weft/gather.hpp"
#include "weft/spawn.hpp"

namespace weft {

namespace detail {

/// The elements, moved out of a container that is given up, else copied.
template <class R>
std::vector<std::ranges::range_value_t<R>> take_elements(R&& range) {
  constexpr bool given_up = !std::is_lvalue_reference_v<R> && !std::ranges::view<std::remove_cvref_t<R>>;
  std::vector<std::ranges::range_value_t<R>> elements;
  if constexpr (std::ranges::sized_range<R>) elements.reserve(std::ranges::size(range));
  for (auto&& element : range) {
    if constexpr (given_up)
      elements.push_back(std::move(element));
    else
      elements.push_back(element);
  }
  return elements;
}

/// Fibers that use what is on the frame of who has them: however that is left, they have ended.
struct crew {
  std::vector<future<void>> members;

  ~crew() {
    for (auto& m : members)
      if (m.valid()) m.cancel();
    shield([this] {
      for (auto& m : members)
        if (m.valid()) m.wait();
    });
  }
};

/// Calls work(i) for each i below `count`, in `n` fibers of the caller's loop.
template <class Work>
void for_each_bounded(std::size_t count, std::size_t n, const Work& work, std::source_location site) {
  std::size_t next = 0;  // of one loop: nobody else is in between
  crew workers{std::vector<future<void>>(std::min(n, count))};
  for (auto& worker : workers.members)
    worker = spawn(
        [&] {
          while (next < count) {
            check_cancelled();  // work may have swallowed it
            work(next++);
          }
        },
        site);
  gather(workers.members).get();
}

}  // namespace detail

/// Calls f with each element, at most `n` at once, each in a fiber of the caller's loop (of one loop, off the loops),
/// and gives a future of the results, in the range's order; of `void` when f gives none. Elements are copied, or moved
/// out of a container passed as an rvalue, and f gets each as an rvalue. Starts at once. The first failure cancels the
/// others, waits for them, and comes out of the future; elements that had no turn yet get none.
///
/// Suspends: never; get() on the future does.
/// Cancel:   not a cancellation point. Cancelling the future cancels the calls of f and waits for them.
/// Threads:  any, while a runtime runs.
/// Ordering: calls begin in the range's order; what they wrote is visible to whoever sees the result.
/// Throws:   std::invalid_argument when n is 0; no_runtime; std::bad_alloc.
template <std::ranges::input_range Range, std::invocable<std::ranges::range_value_t<Range>> F>
auto map_bounded(Range&& range, std::size_t n, F f, std::source_location site = std::source_location::current()) {
  using T = std::remove_cvref_t<std::invoke_result_t<F&, std::ranges::range_value_t<Range>>>;
  if (n == 0) throw std::invalid_argument("map_bounded: n is 0, so that no call could ever begin");
  return spawn(
      [elements = detail::take_elements(std::forward<Range>(range)), n, f = std::move(f), site]() mutable {
        if constexpr (std::is_void_v<T>) {
          const auto work = [&](std::size_t i) { std::invoke(f, std::move(elements[i])); };
          detail::for_each_bounded(elements.size(), n, work, site);
        } else {
          std::vector<std::optional<T>> slots(elements.size());
          const auto work = [&](std::size_t i) { slots[i].emplace(std::invoke(f, std::move(elements[i]))); };
          detail::for_each_bounded(elements.size(), n, work, site);
          std::vector<T> results;
          results.reserve(slots.size());
          for (auto& slot : slots) results.push_back(*std::move(slot));
          return results;
        }
      },
      site);
}

}  // namespace weft
