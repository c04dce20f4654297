#include "weft/gather.hpp"

namespace weft::detail {

void gather_core::start(std::span<gather_input> inputs, bool fail_fast) noexcept {
  inputs_ = inputs;
  fail_fast_ = fail_fast;
  pending_.store(inputs.size() + 1, std::memory_order_relaxed);  // one for this thread, until it is through
  for (gather_input& input : inputs) {
    input.gather = this;
    input.fire = &fired;
    if (!input.what->link(input)) fired(input);
  }
  auto expected = phase::linking;
  if (!phase_.compare_exchange_strong(expected, phase::linked, std::memory_order_acq_rel)) call_off();
  count_down();
}

void gather_core::fired(wait_node& n) noexcept {
  auto& input = static_cast<gather_input&>(n);
  if (input.at.exchange(gather_input::stage::fired, std::memory_order_acq_rel) == gather_input::stage::dead)
    input.gather->release();
  else
    input.gather->ended(input);
}

void gather_core::ended(gather_input& input) noexcept {
  if (fail_fast_ && input.what->failed()) fail(&input, cancel_reason::sibling_failed, input.what->producer_id());
  count_down();
}

// The caller keeps pending_ above zero.
void gather_core::fail(gather_input* first, cancel_reason reason, std::uint64_t by) noexcept {
  if (failing_.exchange(true, std::memory_order_acq_rel)) return;
  first_ = first;
  reason_ = reason;
  by_ = by;
  if (phase_.exchange(phase::failed, std::memory_order_acq_rel) == phase::linked) call_off();
}

void gather_core::call_off() noexcept {
  for (gather_input& input : inputs_) {
    if (&input == first_) continue;
    if (input.owned) {
      input.what->request_cancel(reason_, by_);
      continue;
    }
    hold();
    auto expected = gather_input::stage::linked;
    if (!input.at.compare_exchange_strong(expected, gather_input::stage::dead, std::memory_order_acq_rel)) {
      release();  // it has ended by itself
      continue;
    }
    if (input.what->unlink(input)) release();
    count_down();  // not the last: the caller holds one
  }
}

void gather_core::count_down() noexcept {
  if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) finish();
}

void gather_core::cancel(cancel_reason reason, std::uint64_t by) noexcept {
  // Keep it from finishing while its inputs are called off; if it is finishing already there is nothing to do.
  auto pending = pending_.load(std::memory_order_relaxed);
  do {
    if (pending == 0) return;
  } while (!pending_.compare_exchange_weak(pending, pending + 1, std::memory_order_acq_rel));
  fail(nullptr, reason, by);
  count_down();
}

std::exception_ptr gather_core::error() const noexcept {
  if (phase_.load(std::memory_order_acquire) != phase::failed) return nullptr;
  if (!first_) return std::make_exception_ptr(cancelled(reason_, 0, by_));
  return first_->what->take_error();
}

void gather_core::drop_inputs() noexcept {
  for (gather_input& input : inputs_) std::exchange(input.what, nullptr)->drop_handle();
}

}  // namespace weft::detail
