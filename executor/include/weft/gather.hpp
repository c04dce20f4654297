#pragma once
// Many futures as one.

#include <array>
#include <atomic>
#include <cstddef>
#include <exception>
#include <iterator>
#include <ranges>
#include <source_location>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/future.hpp"
#include "weft/lazy.hpp"
#include "weft/result.hpp"
#include "weft/spawn.hpp"

namespace weft {

namespace detail {

class gather_core;

/// One future that a combinator waits for.
struct combined_input : wait_node {
  combined_input() = default;
  combined_input(combined_input&& other) noexcept : what(std::exchange(other.what, nullptr)), owned(other.owned) {}

  future_core* what = nullptr;  ///< a handle, dropped when the combinator is done with it
  bool owned = false;           ///< cancelled and awaited when its result is not wanted any more

  template <class T>
  void take(future<T>&& f) {
    if (!f.valid()) throw no_state();
    owned = future_access::state(f)->last_handle();
    what = future_access::release(std::move(f));
  }
};

struct gather_input : combined_input {
  enum class stage : std::uint8_t { linked, fired, dead };  ///< dead: called off, but perhaps still in the list

  gather_input() = default;
  gather_input(gather_input&& other) noexcept : combined_input(std::move(other)) {}

  std::atomic<stage> at{stage::linked};
  gather_core* gather = nullptr;
};

/// Counts its inputs down, and when one decides the outcome calls the other owned ones off. Runs on whichever thread an
/// input ends.
///
///   linking --> linked --> decided     Whoever moves it to `decided` while it is `linked` calls the others off;
///        \_________________^            if it was still `linking`, the linking thread does, when it is through.
class gather_core {
 public:
  /// What an input must be to decide the outcome for all.
  enum class decides : std::uint8_t { failure, success, none };

  /// Starts waiting. `finish` is called once, when every input that counts has ended.
  void start(std::span<gather_input> inputs, decides what) noexcept;
  void cancel(cancel_reason reason, std::uint64_t by) noexcept;

  [[nodiscard]] std::span<gather_input> inputs() const noexcept { return inputs_; }
  /// The input that decided; null for none.
  [[nodiscard]] gather_input* first() const noexcept { return first_; }

 protected:
  gather_core() = default;
  ~gather_core() = default;
  virtual void finish() noexcept = 0;
  /// A dead input may stay in a shared future's list for a while, and keeps the gather's memory until it is out.
  virtual void hold() noexcept = 0;
  virtual void release() noexcept = 0;

  /// The error to give: the first input's, all inputs', or a cancellation of the gather itself; null if all went well.
  [[nodiscard]] std::exception_ptr error() const;
  /// True when it, or what made it fail, was cancelled.
  [[nodiscard]] bool was_cancelled() const noexcept;
  void drop_inputs() noexcept;

 private:
  enum class phase : std::uint8_t { linking, linked, decided };

  static void fired(wait_node& n) noexcept;
  void ended(gather_input& input) noexcept;
  void decide(gather_input* first, cancel_reason reason, std::uint64_t by) noexcept;
  void call_off() noexcept;
  void count_down() noexcept;
  [[nodiscard]] bool decided() const noexcept { return phase_.load(std::memory_order_acquire) == phase::decided; }

  std::span<gather_input> inputs_;
  std::atomic<std::size_t> pending_{0};
  std::atomic<phase> phase_{phase::linking};
  std::atomic<bool> deciding_{false};
  decides decides_ = decides::failure;
  cancel_reason reason_ = cancel_reason::sibling_failed;
  std::uint64_t by_ = 0;
  gather_input* first_ = nullptr;
};

/// Moves the value out of an owned input, copies it from a shared one.
template <class T>
value_or_unit<T> take_value(gather_input& input) {
  auto& state = static_cast<future_state<T>&>(*input.what);
  if constexpr (std::is_reference_v<T>)
    return static_cast<T>(*state.value());
  else if constexpr (std::is_copy_constructible_v<value_or_unit<T>>)
    return input.what->last_handle() ? std::move(state.value()) : value_or_unit<T>(state.value());
  else if (input.what->last_handle())
    return std::move(state.value());
  else
    throw future_shared();
}

template <class T>
result<T> take_result(gather_input& input) {
  if (auto error = input.what->take_error()) return error;
  return take_value<T>(input);
}

/// The future that a gather gives. `Collect` makes the result from the inputs.
template <class R, class Collect, std::size_t N>
class gather_state final : public future_state<R>, private gather_core {
 public:
  static constexpr bool in_place = N != std::dynamic_extent;
  using storage = std::conditional_t<in_place, std::array<gather_input, in_place ? N : 0>, std::vector<gather_input>>;

  explicit gather_state(storage inputs) : future_state<R>(1 + future_core::one_hold), storage_(std::move(inputs)) {}

  future<R> begin(decides what) noexcept {
    auto handle = future_access::adopt<R>(this);
    gather_core::start(storage_, what);
    return handle;
  }

 private:
  void finish() noexcept override {
    std::exception_ptr failure;
    bool called_off = was_cancelled();
    try {
      failure = error();
      if (!failure) emplace_result(*static_cast<future_state<R>*>(this), [this]() -> R { return Collect()(*this); });
    } catch (...) {
      failure = std::current_exception();
      called_off = false;
    }
    drop_inputs();
    if (failure) this->set_error(std::move(failure), called_off);
    this->publish();
    this->drop_hold();
  }
  void hold() noexcept override { this->add_hold(); }
  void release() noexcept override { this->drop_hold(); }
  void request_cancel(cancel_reason reason, std::uint64_t by) noexcept override { gather_core::cancel(reason, by); }
  [[nodiscard]] task_info producer() const override { return {}; }
  void destroy() noexcept override { delete this; }

  storage storage_;
};

template <class... T>
struct collect_values {
  template <std::size_t... I>
  static auto make([[maybe_unused]] std::span<gather_input> in, std::index_sequence<I...>) {
    return std::tuple<value_or_unit<T>...>{take_value<T>(in[I])...};
  }
  auto operator()(gather_core& g) const { return make(g.inputs(), std::index_sequence_for<T...>()); }
};

template <class... T>
struct collect_results {
  template <std::size_t... I>
  static auto make([[maybe_unused]] std::span<gather_input> in, std::index_sequence<I...>) {
    return std::tuple<result<T>...>{take_result<T>(in[I])...};
  }
  auto operator()(gather_core& g) const { return make(g.inputs(), std::index_sequence_for<T...>()); }
};

template <class T>
struct collect_vector {
  auto operator()(gather_core& g) const {
    if constexpr (!std::is_void_v<T>) {
      std::vector<T> out;
      out.reserve(g.inputs().size());
      for (auto& input : g.inputs()) out.push_back(take_value<T>(input));
      return out;
    }
  }
};
template <class T>
struct collect_result_vector {
  auto operator()(gather_core& g) const {
    std::vector<result<T>> out;
    out.reserve(g.inputs().size());
    for (auto& input : g.inputs()) out.push_back(take_result<T>(input));
    return out;
  }
};

/// What a gather takes: a future, or a lazy, which it spawns.
template <class A>
concept gatherable = is_future<std::remove_cvref_t<A>> || is_lazy<std::remove_cvref_t<A>>;

template <gatherable A>
auto as_future(A&& a, std::source_location site) {
  if constexpr (is_future<std::remove_cvref_t<A>>)
    return std::remove_cvref_t<A>(std::forward<A>(a));
  else
    return spawn(std::move(a), site);
}
template <class A>
using gathered_t = typename decltype(as_future(std::declval<A>(), std::declval<std::source_location>()))::value_type;

template <class R>
concept gatherable_range = std::ranges::input_range<R> && gatherable<std::ranges::range_reference_t<R>>;
/// An element of a range: of an rvalue range it is moved out, of an lvalue range it is copied (a lazy is taken).
template <class R>
using element_t = std::conditional_t<std::is_lvalue_reference_v<R> && !is_lazy<std::ranges::range_value_t<R>>,
                                     std::ranges::range_reference_t<R>, std::ranges::range_value_t<R>&&>;

/// Takes the inputs, and drops those taken when a later one throws.
template <class... A>
std::array<gather_input, sizeof...(A)> make_inputs(std::source_location site, A&&... a) {
  std::tuple<decltype(as_future(std::forward<A>(a), site))...> futures{as_future(std::forward<A>(a), site)...};
  std::array<gather_input, sizeof...(A)> inputs;
  std::apply([](auto&... f) { ((f.valid() ? void() : throw no_state()), ...); }, futures);
  std::size_t i = 0;
  std::apply([&](auto&... f) { (inputs[i++].take(std::move(f)), ...); }, futures);
  return inputs;
}

template <class Input, class R>
std::vector<Input> make_range_inputs(std::source_location site, R&& range) {
  std::vector<Input> inputs;
  if constexpr (std::ranges::sized_range<R>) inputs.reserve(std::ranges::size(range));
  try {
    for (auto&& element : range) {
      auto f = as_future(static_cast<element_t<R>>(element), site);
      inputs.emplace_back().take(std::move(f));
    }
  } catch (...) {
    for (auto& input : inputs)
      if (input.what) input.what->drop_handle();
    throw;
  }
  return inputs;
}

}  // namespace detail

/// Waits for all: a future of their results, in argument order. Starts at once; lazies are spawned on the caller's
/// loop. The first failure cancels the owned siblings, waits for them, and comes out of the future. A `void` result is
/// a std::monostate in the tuple.
///
/// Suspends: never; get() on the future does.
/// Cancel:   not a cancellation point. Cancelling the future cancels the owned inputs and waits for them.
/// Threads:  any.
/// Ordering: what every input wrote is visible to whoever sees the result.
/// Throws:   no_state for an empty future; already_awaited; std::bad_alloc.
template <detail::gatherable... A>
auto gather(A&&... a) {
  using R = std::tuple<value_or_unit<detail::gathered_t<A>>...>;
  using state = detail::gather_state<R, detail::collect_values<detail::gathered_t<A>...>, sizeof...(A)>;
  return (new state(detail::make_inputs(std::source_location::current(), std::forward<A>(a)...)))
      ->begin(detail::gather_core::decides::failure);
}

/// gather over a range: a future of a vector, in the range's order; of `void` for futures of `void`. An rvalue range
/// gives its futures up, an lvalue range shares them.
template <detail::gatherable_range Range>
auto gather(Range&& range, std::source_location site = std::source_location::current()) {
  using T = detail::gathered_t<detail::element_t<Range>>;
  using R = std::conditional_t<std::is_void_v<T>, void, std::vector<value_or_unit<T>>>;
  using state = detail::gather_state<R, detail::collect_vector<T>, std::dynamic_extent>;
  return (new state(detail::make_range_inputs<detail::gather_input>(site, std::forward<Range>(range))))
      ->begin(detail::gather_core::decides::failure);
}

/// Waits for all and gives a result<T> each, value or error (asyncio's return_exceptions=True); fails for none.
/// Otherwise as gather.
template <detail::gatherable... A>
auto gather_results(A&&... a) {
  using R = std::tuple<result<detail::gathered_t<A>>...>;
  using state = detail::gather_state<R, detail::collect_results<detail::gathered_t<A>...>, sizeof...(A)>;
  return (new state(detail::make_inputs(std::source_location::current(), std::forward<A>(a)...)))
      ->begin(detail::gather_core::decides::none);
}

/// gather_results over a range: a future of a vector of result<T>.
template <detail::gatherable_range Range>
auto gather_results(Range&& range, std::source_location site = std::source_location::current()) {
  using T = detail::gathered_t<detail::element_t<Range>>;
  using state = detail::gather_state<std::vector<result<T>>, detail::collect_result_vector<T>, std::dynamic_extent>;
  return (new state(detail::make_range_inputs<detail::gather_input>(site, std::forward<Range>(range))))
      ->begin(detail::gather_core::decides::none);
}

}  // namespace weft
