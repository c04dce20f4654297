#include "weft/future.hpp"

#include "runtime_core.hpp"
#include "scheduler.hpp"

namespace weft::detail {

void coroutine_entry::remember_loop() noexcept { loop_ = current_loop(); }

void coroutine_entry::schedule() noexcept {
  if (loop_ && current_loop() == loop_) {
    loop_->ready(this);
    return;
  }
  const visit here;
  if (loop_core* loop = loop_ ? loop_ : here.runtime() ? &here.runtime()->any_loop() : nullptr)
    loop->post(this);
  else
    run();  // no runtime any more: on the thread that made the future ready
}

// No stack could be had: it goes on on the loop's own, where its waits are errors it can see.
void coroutine_entry::fail(std::exception_ptr) noexcept { run(); }

}  // namespace weft::detail
