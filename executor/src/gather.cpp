#include "weft/gather.hpp"

#include <algorithm>

namespace weft::detail {

void gather_core::start(std::span<gather_input> inputs, decides what) noexcept {
  inputs_ = inputs;
  decides_ = what;
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
  const auto outcome = input.what->failed() ? decides::failure : decides::success;
  if (outcome == decides_)
    decide(&input, outcome == decides::failure ? cancel_reason::sibling_failed : cancel_reason::user,
           input.what->producer_id());
  count_down();
}

// The caller keeps pending_ above zero.
void gather_core::decide(gather_input* first, cancel_reason reason, std::uint64_t by) noexcept {
  if (deciding_.exchange(true, std::memory_order_acq_rel)) return;
  first_ = first;
  reason_ = reason;
  by_ = by;
  if (phase_.exchange(phase::decided, std::memory_order_acq_rel) == phase::linked) call_off();
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
  decide(nullptr, reason, by);
  count_down();
}

std::exception_ptr gather_core::error() const {
  if (decided()) {
    if (!first_) return std::make_exception_ptr(cancelled(reason_, 0, by_));
    return first_->what->take_error();
  }
  if (decides_ != decides::success) return nullptr;
  // None succeeded. Those that were cancelled have nothing to say, unless there is nobody else.
  std::vector<std::exception_ptr> errors;
  for (const gather_input& input : inputs_) {
    auto error = input.what->take_error();
    if (!input.what->was_cancelled()) errors.push_back(std::move(error));
  }
  if (errors.empty()) return inputs_.front().what->take_error();
  if (errors.size() == 1) return errors.front();
  return std::make_exception_ptr(exception_group(std::move(errors)));
}

bool gather_core::was_cancelled() const noexcept {
  if (decided()) return !first_ || first_->what->was_cancelled();
  return decides_ == decides::success && std::all_of(inputs_.begin(), inputs_.end(), [](const gather_input& input) {
           return input.what->was_cancelled();
         });
}

void gather_core::drop_inputs() noexcept {
  for (gather_input& input : inputs_) {
    // Whoever races expects that some fail.
    if (decides_ == decides::success && input.owned) (void)input.what->take_error();
    std::exchange(input.what, nullptr)->drop_handle();
  }
}

}  // namespace weft::detail
