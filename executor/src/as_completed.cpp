#include "weft/as_completed.hpp"

namespace weft::detail {

completion_core::completion_core(std::vector<completion> inputs) noexcept
    : inputs_(std::move(inputs)), holds_(1 + inputs_.size()) {
  for (completion& input : inputs_) {
    input.all = this;
    input.fire = &fired;
    if (!input.what->link(input)) fired(input);
  }
}

void completion_core::fired(wait_node& n) noexcept {
  auto& self = static_cast<completion&>(n);
  completion_core& all = *self.all;
  completion& slot = all.inputs_[all.come_.fetch_add(1, std::memory_order_relaxed)];
  slot.who = &self;
  slot.come.publish();
  all.release();
}

completion& completion_core::next(deadline until) {
  completion& slot = inputs_[taken_];
  if (!slot.come.wait(until)) throw timed_out("timed out: the deadline passed before the next future was ready");
  ++taken_;
  return *slot.who;
}

void completion_core::leave() noexcept {
  for (completion& input : inputs_)
    if (input.what && input.owned) input.what->request_cancel(cancel_reason::user, current_task_id());
  for (completion& input : inputs_) {
    if (!input.what) continue;
    if (input.owned)
      input.what->wait_shielded();
    else if (input.what->unlink(input))
      release();  // not the last: the consumer's is still there
    input.what->drop_handle();
  }
  release();
}

}  // namespace weft::detail
