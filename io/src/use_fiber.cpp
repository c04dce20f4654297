#include "weft/io/use_fiber.hpp"

#include <asio/detail/concurrency_hint.hpp>
#include <asio/detail/scheduler.hpp>
#include <asio/post.hpp>

namespace weft::io::detail {

// Another loop's io_context, or anybody's who promised to use it from one thread: not this one.
void check_context(asio::execution_context& theirs) {
  using scheduler = asio::detail::io_context_impl;
  if (&theirs == &this_io_context() || !asio::has_service<scheduler>(theirs)) return;
  if (asio::use_service<scheduler>(theirs).concurrency_hint() != ASIO_CONCURRENCY_HINT_UNSAFE_IO) return;
  throw wrong_loop("an object of Asio was used on loop " + std::to_string(this_loop()) +
                   ", whose io_context is another loop's; make it with this_io_context() on the loop that uses it");
}

awaited_operation::awaited_operation()
    : caller_(weft::detail::checkpoint_of_caller()), context_(this_io_context()), loop_(weft::detail::require_loop()) {
  const waiter allowed(caller_, wait_kind::io);  // that a wait is allowed here must be known before anything begins
}

void awaited_operation::note_end() noexcept {
  ended_ = true;
  std::exchange(who_, {}).wake();
}

void awaited_operation::end() noexcept {
  if (weft::detail::this_loop_token() == loop_)
    note_end();
  else  // Asio allocates for it, so a program out of memory ends here
    asio::post(context_, [this] { note_end(); });
}

void awaited_operation::wait() noexcept {
  while (!ended_) {
    waiter w(caller_, wait_kind::io, this);
    who_ = w.handle();
    const auto how = asked_ ? w.suspend_shielded() : w.suspend();
    who_ = {};
    if (how == wake_reason::woken || ended_) continue;
    asked_ = true;
    signal_.emit(asio::cancellation_type::terminal);
  }
}

}  // namespace weft::io::detail
