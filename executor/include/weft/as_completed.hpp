#pragma once
// Many futures, one after another, as they become ready.

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <source_location>
#include <utility>
#include <vector>

#include "weft/deadline.hpp"
#include "weft/error.hpp"
#include "weft/gather.hpp"
#include "weft/wait.hpp"

namespace weft {

namespace detail {

class completion_core;

/// The i-th of them is the i-th input, and beside that tells who comes i-th.
struct completion : combined_input {
  completion() = default;
  completion(completion&& other) noexcept : combined_input(std::move(other)) {}

  completion_core* all = nullptr;
  milestone come;
  completion* who = nullptr;  ///< written before `come` is ready
};

/// Each input that becomes ready takes the next turn. Lives until the consumer has left it and no input can fire.
class completion_core {
 public:
  explicit completion_core(std::vector<completion> inputs) noexcept;

  [[nodiscard]] std::size_t left() const noexcept { return inputs_.size() - taken_; }
  /// The next one; throws timed_out.
  completion& next(deadline until);
  /// Cancels and awaits what is owned and was not given out, and leaves the rest alone. The last thing the consumer
  /// does.
  void leave() noexcept;

 private:
  static void fired(wait_node& n) noexcept;
  void release() noexcept {
    if (holds_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  std::vector<completion> inputs_;
  std::atomic<std::size_t> come_{0};
  std::atomic<std::size_t> holds_;  // the consumer's, and one for each input that is to fire
  std::size_t taken_ = 0;
};

}  // namespace detail

/// What as_completed() gives: the futures in the order in which they become ready. For one agent at a time.
template <class T>
class completions {
 public:
  /// `take` gives the inputs, when there is memory for what keeps them.
  template <std::invocable Take>
  explicit completions(Take take) : core_(new detail::completion_core(take())) {}
  /// Those that were owned and not given out yet are cancelled and awaited, deaf to cancellation; others are left
  /// alone.
  ~completions() { core_->leave(); }
  completions(const completions&) = delete;
  completions& operator=(const completions&) = delete;

  /// How many are still to come.
  [[nodiscard]] std::size_t left() const noexcept { return core_->left(); }

  /// The next future, which is ready; empty when all have come.
  ///
  /// Suspends: a checkpoint always, unless all have come; switches when the next is not ready, else every 128th call.
  /// Cancel:   throws cancelled; the next call gives what this one would have given.
  /// Threads:  any agent, one at a time; on a plain thread it blocks.
  /// Ordering: what the future's producer wrote is visible.
  /// Throws:   none of the errors of the futures.
  std::optional<future<T>> next() { return next_until(deadline::never()); }

  /// next() until a time at most. Throws timed_out; the next call goes on from there.
  std::optional<future<T>> next_until(deadline until) {
    if (left() == 0) return std::nullopt;
    auto* const what = std::exchange(core_->next(until).what, nullptr);
    return detail::future_access::adopt(static_cast<detail::future_state<T>*>(what));
  }
  /// The same for a time at most.
  template <class Rep, class Period>
  std::optional<future<T>> next_for(std::chrono::duration<Rep, Period> duration) {
    return next_until(deadline::after(duration));
  }

  /// For range-`for`: `for (auto& f : as_completed(range))` waits as next() does, before each round.
  class iterator {
   public:
    using value_type = future<T>;
    using difference_type = std::ptrdiff_t;

    explicit iterator(completions& all) noexcept : all_(&all) {}
    future<T>& operator*() const noexcept { return *all_->current_; }
    iterator& operator++() {
      all_->current_ = all_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return !all_->current_; }

   private:
    completions* all_;
  };
  iterator begin() { return ++iterator(*this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  detail::completion_core* const core_;
  std::optional<future<T>> current_;
};

/// The futures of a range, or lazies, in the order in which they become ready. Starts at once; lazies are spawned on
/// the caller's loop. An rvalue range gives its futures up: those that are last handles are cancelled and awaited when
/// the result goes before they came. An lvalue range shares them. For a time limit on the whole, use timeout().
///
/// Suspends: never; next() on the result does.
/// Cancel:   not a cancellation point.
/// Threads:  any.
/// Ordering: as they become ready; those that are at the call in the order of the range.
/// Throws:   no_state for an empty future; already_awaited; std::bad_alloc.
template <detail::gatherable_range Range>
[[nodiscard]] auto as_completed(Range&& range, std::source_location site = std::source_location::current()) {
  using T = detail::gathered_t<detail::element_t<Range>>;
  return completions<T>(
      [&] { return detail::make_range_inputs<detail::completion>(site, std::forward<Range>(range)); });
}

}  // namespace weft
