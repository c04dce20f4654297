#pragma once
// The writing end of a future, for results that come from elsewhere: a callback, a foreign thread.

#include <atomic>
#include <cstdint>
#include <exception>
#include <utility>

#include "weft/future.hpp"

namespace weft {

namespace detail {

template <class T>
class promised final : public future_state<T> {
 public:
  promised() noexcept : future_state<T>(future_core::one_hold) { this->reports_ = false; }

  /// True for the one caller that may set the outcome. One transition: a setter that comes second must know by whom it
  /// was forestalled.
  enum class claim_by : std::uint8_t { nobody, setter, canceller };
  [[nodiscard]] bool claim(claim_by who = claim_by::setter) noexcept {
    auto nobody = claim_by::nobody;
    return claimed_.compare_exchange_strong(nobody, who, std::memory_order_acq_rel);
  }
  [[nodiscard]] bool abandoned() const noexcept {
    return claimed_.load(std::memory_order_acquire) == claim_by::canceller;
  }
  void finish() noexcept { this->publish(); }
  void finish(std::exception_ptr error, bool was_cancelled) noexcept {
    this->set_error(std::move(error), was_cancelled);
    this->publish();
  }

  void request_cancel(cancel_reason reason, std::uint64_t by) noexcept override {
    this->add_hold();
    if (claim(claim_by::canceller)) finish(std::make_exception_ptr(cancelled(reason, 0, by)), true);
    this->drop_hold();
  }
  [[nodiscard]] task_info producer() const override { return {}; }

 private:
  void destroy() noexcept override { delete this; }
  std::atomic<claim_by> claimed_{claim_by::nobody};
};

}  // namespace detail

/// Sets the result of the futures it hands out, once, from any thread. Destroyed unset, it gives broken_promise.
template <class T>
class promise {
 public:
  promise() : state_(new detail::promised<T>) {}
  promise(promise&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  promise& operator=(promise&& other) noexcept {
    promise(std::move(other)).swap(*this);
    return *this;
  }
  ~promise() {
    if (!state_) return;
    if (state_->claim()) state_->finish(std::make_exception_ptr(broken_promise()), false);
    state_->drop_hold();
  }

  void swap(promise& other) noexcept { std::swap(state_, other.state_); }

  /// As often as you like. Throws no_state.
  future<T> get_future() const {
    state().add_handle();
    return detail::future_access::adopt<T>(state_);
  }

  /// Gives the value and wakes whoever waits. A future that was cancelled stays cancelled, and the value is dropped.
  ///
  /// Suspends: never.
  /// Cancel:   not a cancellation point.
  /// Threads:  any.
  /// Ordering: writes before it are visible to whoever sees the result.
  /// Throws:   promise_already_set; no_state; what T's constructor throws (the promise is then set to that error).
  template <class... Args>
  void set_value(Args&&... args) const {
    if (!take()) return;
    try {
      state_->emplace(std::forward<Args>(args)...);
    } catch (...) {
      state_->finish(std::current_exception(), false);
      throw;
    }
    state_->finish();
  }

  /// Gives an error instead of a value; as set_value otherwise.
  void set_exception(std::exception_ptr error) const {
    if (take()) state_->finish(std::move(error), false);
  }

  /// True when a future of this promise was cancelled: nobody wants the value any more.
  [[nodiscard]] bool cancelled() const { return state().abandoned(); }

 private:
  detail::promised<T>& state() const {
    if (!state_) throw no_state();
    return *state_;
  }
  bool take() const {
    if (state().claim()) return true;
    if (state_->abandoned()) return false;
    throw promise_already_set();
  }

  detail::promised<T>* state_;
};

}  // namespace weft
