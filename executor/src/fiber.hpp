#pragma once
// A suspended computation with a stack of its own. The only file that knows Boost.Context.

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <utility>

#include "eh_globals.hpp"
#include "sanitizer.hpp"

namespace weft::detail {

class fiber {
 public:
  using entry_function = void(fiber& self) noexcept;

  fiber() = default;
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;

  /// Lays out a fiber that will run `entry(*this)` on the stack [low, low + size). `entry` never returns.
  void make(void* low, std::size_t size, entry_function* entry) noexcept {
    entry_ = entry;
    notes_.created(low, size);
    context_ = boost::context::detail::make_fcontext(static_cast<char*>(low) + size, size, &start);
  }
  /// Makes this the calling thread's own stack.
  void make_native() noexcept { notes_.native(); }

  void destroy(void* low, std::size_t size) noexcept { notes_.destroyed(low, size); }

  /// Leaves `from`, which must be running on this thread, for `to`. Returns when somebody switches back to `from`:
  /// for a pinned fiber on the same thread, for a CPU task perhaps on another. `globals` is this thread's exception
  /// state; with `Migrates` it is looked up again afterwards.
  template <bool Migrates>
  static void switch_to(fiber& from, fiber& to, eh_globals* globals) noexcept {
    from.eh_ = *globals;
    *globals = to.eh_;
    before_switch(from.notes_, to.notes_);
    transfer hop{&from, &to};
    const auto back = boost::context::detail::jump_fcontext(std::exchange(to.context_, nullptr), &hop);
    from.arrived(back);
    if constexpr (Migrates) *thread_eh_globals() = from.eh_;
  }

  /// The number of exceptions in flight when it was left.
  [[nodiscard]] unsigned uncaught() const noexcept { return eh_.uncaught; }
  [[nodiscard]] const void* stack_pointer() const noexcept { return context_; }

 private:
  struct transfer {
    fiber* from;
    fiber* to;
  };

  // The fiber that jumped here is told where it was left.
  void arrived(boost::context::detail::transfer_t back) noexcept {
    fiber& left = *static_cast<transfer*>(back.data)->from;
    left.context_ = back.fctx;
    after_switch(notes_, left.notes_);
  }

  static void start(boost::context::detail::transfer_t back) noexcept;

  boost::context::detail::fcontext_t context_ = nullptr;
  eh_globals eh_;
  entry_function* entry_ = nullptr;
  [[no_unique_address]] stack_notes notes_;
};

}  // namespace weft::detail
