#include "outbox.hpp"

#include <utility>

#include "scheduler.hpp"

namespace weft::detail {

constinit thread_local outbox tl_outbox;

void outbox::send() noexcept {
  if (loop_core* const to = std::exchange(to_, nullptr))
    to->post(std::exchange(newest_, nullptr), std::exchange(oldest_, nullptr));
}

void outbox::send_with(loop_core& to, runnable* r) noexcept {
  if (to_ != &to) send();
  to_ = &to;
  add(r);
  send();
}

}  // namespace weft::detail
