#pragma once
// Values that a task's children inherit: a request's id, a tenant, a trace.

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace weft {

namespace detail {

/// What a task's variables are set to. Shared by the tasks that inherited it, and then not changed any more.
struct context_values {
  struct entry {
    std::uint64_t variable;
    std::shared_ptr<const void> value;
  };
  std::atomic<std::uint32_t> holders{1};
  std::vector<entry> entries;

  context_values* share() noexcept {
    holders.fetch_add(1, std::memory_order_relaxed);
    return this;
  }
  void drop() noexcept {
    if (holders.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
};

std::uint64_t next_variable() noexcept;
/// What the caller has the variable set to; null for nothing.
std::shared_ptr<const void> find_value(std::uint64_t variable) noexcept;
/// Sets it (to nothing, for null) and gives what it was set to.
std::shared_ptr<const void> exchange_value(std::uint64_t variable, std::shared_ptr<const void> value);

}  // namespace detail

/// A variable of which every task has its own value. A child (fiber, CPU task, blocking call) begins with its parent's
/// values as they are when it is spawned; what it sets itself neither its parent nor its siblings see. A plain thread
/// has values of its own, and hands them to what it spawns. The body of a oneTBB algorithm sees its task's through
/// bind() only. What runs on a loop's own stack sees the defaults.
///
/// Nothing here waits. Any agent and thread may use the same variable at once; it must outlive its last use only.
template <class T>
class context_var {
  static_assert(std::is_copy_constructible_v<T>, "a context_var gives copies; for others use a std::shared_ptr");

 public:
  /// `initial` is what get() gives where nothing was set.
  explicit context_var(T initial = T()) : initial_(std::move(initial)) {}
  context_var(const context_var&) = delete;
  context_var& operator=(const context_var&) = delete;

  /// The caller's value. By value, so that it does not matter what is set while it is used; for a large one take a
  /// context_var<std::shared_ptr<const T>>.
  [[nodiscard]] T get() const {
    const auto value = detail::find_value(id_);
    return value ? *static_cast<const T*>(value.get()) : initial_;
  }

  /// From now on, for the caller and what it spawns. Throws std::logic_error where there is nobody to keep it: on a
  /// loop's own stack, in an algorithm's body that is not bound.
  void set(T value) const { detail::exchange_value(id_, std::make_shared<const T>(std::move(value))); }

  /// Runs f in the caller with `value`, and puts back what was there before.
  template <class F>
  decltype(auto) with(T value, F&& f) const {
    const struct restore {
      std::uint64_t id;
      std::shared_ptr<const void> earlier;
      ~restore() { detail::exchange_value(id, earlier); }
    } guard{id_, detail::exchange_value(id_, std::make_shared<const T>(std::move(value)))};
    return std::forward<F>(f)();
  }

 private:
  const std::uint64_t id_ = detail::next_variable();
  const T initial_;
};

}  // namespace weft
