#pragma once
// What the body of a oneTBB algorithm knows of the task that runs the algorithm.

#include <functional>
#include <type_traits>
#include <utility>

#include "weft/cancel.hpp"
#include "weft/context_var.hpp"

namespace weft {

namespace detail {

class binding;

/// A counted pointer to what bind() saw; null when there was nothing to bind.
class binding_ref {
 public:
  binding_ref();  ///< of the caller
  binding_ref(const binding_ref& other) noexcept;
  binding_ref(binding_ref&& other) noexcept : what_(std::exchange(other.what_, nullptr)) {}
  binding_ref& operator=(binding_ref other) noexcept {
    std::swap(what_, other.what_);
    return *this;
  }
  ~binding_ref();
  [[nodiscard]] binding* get() const noexcept { return what_; }

 private:
  binding* what_;
};

/// A body that runs under a binding, from here to the end of the block.
class bound_call {
 public:
  explicit bound_call(binding* what);
  ~bound_call();
  bound_call(const bound_call&) = delete;
  bound_call& operator=(const bound_call&) = delete;

 private:
  agent* who_ = nullptr;
  task_core* task_ = nullptr;  // what the agent was before
  scope* innermost_ = nullptr;
  context_values** bound_values_ = nullptr;
  const void* bound_in_ = nullptr;
  context_values* values_ = nullptr;
  scope base_;
};

template <class F>
class bound {
 public:
  template <class G>
  explicit bound(std::in_place_t, G&& body) : body_(std::forward<G>(body)) {}

  template <class... A>
    requires std::invocable<F&, A...>
  decltype(auto) operator()(A&&... arguments) {
    const bound_call inside(what_.get());
    return std::invoke(body_, std::forward<A>(arguments)...);
  }
  template <class... A>
    requires std::invocable<const F&, A...>
  decltype(auto) operator()(A&&... arguments) const {
    const bound_call inside(what_.get());
    return std::invoke(body_, std::forward<A>(arguments)...);
  }

 private:
  binding_ref what_;
  F body_;
};

}  // namespace detail

/// Makes a body for a oneTBB algorithm that sees what its task saw when bind() was called: scopes, deadline, context
/// variables (what the body sets it alone sees); its spawns are the task's children; timeout() and shield() work in it;
/// where it waits, a cancellation wakes it. A body that is not bound sees none of that, on whichever thread. (Only one
/// that oneTBB runs on top of a bound one of the very same task_group_context sees what that one sees.)
///
///   tbb::parallel_for(0, n, weft::bind([&](int i) { weft::check_cancelled(); step(i); }));
///
/// In a CPU task, or in a bound body; elsewhere, and when it is called outside an algorithm, it is just the body. A
/// call costs a body some tens of nanoseconds: bind the body of a range, not of an element, where that counts. Anything
/// may hold it for any time, but what the body itself refers to.
template <class F>
[[nodiscard]] auto bind(F&& body) {
  return detail::bound<std::decay_t<F>>(std::in_place, std::forward<F>(body));
}

}  // namespace weft
