#pragma once
// The first of many futures.

#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <source_location>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>

#include "weft/gather.hpp"

namespace weft {

namespace detail {

/// How a result is kept in a variant, which holds no references.
template <class T>
using alternative_t =
    std::conditional_t<std::is_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>, value_or_unit<T>>;

/// What a race of these types gives, and how it is taken from the input that won.
template <class First, class... Others>
struct winner_of {
  static constexpr bool alike = (std::same_as<First, Others> && ...);
  using type =
      std::conditional_t<alike, std::type_identity<First>,
                         std::type_identity<std::variant<alternative_t<First>, alternative_t<Others>...>>>::type;

  type operator()(gather_core& g) const {
    if constexpr (!alike)
      return take[static_cast<std::size_t>(g.first() - g.inputs().data())](*g.first());
    else if constexpr (!std::is_void_v<First>)
      return take_value<First>(*g.first());
  }

 private:
  template <class... T, std::size_t... I>
  static constexpr auto make(std::index_sequence<I...>) {
    return std::array<type (*)(gather_input&), sizeof...(T)>{
        [](gather_input& in) { return type(std::in_place_index<I>, take_value<T>(in)); }...};
  }
  static constexpr auto table() {
    if constexpr (!alike)
      return make<First, Others...>(std::index_sequence_for<First, Others...>());
    else
      return 0;
  }
  static constexpr auto take = table();
};

}  // namespace detail

/// The first result: of type T if all inputs are alike, else a std::variant in argument order, whose index() says who
/// won (`void` is a std::monostate). An error wins only when all fail: then it is the only one there is, or an
/// exception_group in argument order; inputs that were cancelled are not in it. Starts at once; lazies are spawned on
/// the caller's loop. The owned losers are cancelled and have ended before the future is ready; what they give or throw
/// is dropped.
///
/// Suspends: never; get() on the future does.
/// Cancel:   not a cancellation point. Cancelling the future cancels the owned inputs and waits for them. When all
///           inputs were cancelled, so is the race.
/// Threads:  any.
/// Ordering: what the winner wrote is visible to whoever sees the result. Of inputs that are ready at the call the
///           first in argument order wins.
/// Throws:   no_state for an empty future; already_awaited; std::bad_alloc.
template <detail::gatherable... A>
  requires(sizeof...(A) > 0)
auto race(A&&... a) {
  using winner = detail::winner_of<detail::gathered_t<A>...>;
  using state = detail::gather_state<typename winner::type, winner, sizeof...(A)>;
  return (new state(detail::make_inputs(std::source_location::current(), std::forward<A>(a)...)))
      ->begin(detail::gather_core::decides::success);
}

/// race over a range. An rvalue range gives its futures up, an lvalue range shares them. Throws std::invalid_argument
/// when it is empty: nobody could win.
template <detail::gatherable_range Range>
auto race(Range&& range, std::source_location site = std::source_location::current()) {
  using T = detail::gathered_t<detail::element_t<Range>>;
  using state = detail::gather_state<T, detail::winner_of<T>, std::dynamic_extent>;
  const auto take = [&] {
    auto inputs = detail::make_range_inputs<detail::gather_input>(site, std::forward<Range>(range));
    if (inputs.empty()) throw std::invalid_argument("race: the range is empty, and nobody could ever win");
    return inputs;
  };
  return (new state(take()))->begin(detail::gather_core::decides::success);  // memory first, then the handles
}

}  // namespace weft
