#include "weft/io/loop_executor.hpp"

#include <asio/post.hpp>
#include <utility>

#include "descriptor.hpp"
#include "weft/error.hpp"

namespace weft::io {
namespace detail {

loop_context loop_context::here() { return loop_context(this_context_life()); }

bool loop_context::is_here() const noexcept {
  const asio::io_context* const context = life_->context.load();
  return context && weft::detail::this_loop_token() == life_->loop;
}

loop_context::held loop_context::use() const {
  std::unique_lock lock(life_->mutex);
  asio::io_context* const context = life_->context.load();
  if (!context) throw no_runtime("this loop's executor, whose runtime has ended,");
  return {std::move(lock), context};
}

void loop_context::call(void (*f)(void*) noexcept, void* argument) const noexcept {
  // A handler that the context does not come to run any more is destroyed with the context.
  struct once {
    void (*f)(void*) noexcept;
    void* argument;

    once(void (*what)(void*) noexcept, void* with) noexcept : f(what), argument(with) {}
    once(once&& other) noexcept : f(std::exchange(other.f, nullptr)), argument(other.argument) {}
    once& operator=(once&&) = delete;
    ~once() { (*this)(); }
    void operator()() noexcept {
      if (f) std::exchange(f, nullptr)(argument);
    }
  };
  once task(f, argument);
  if (is_here()) return;
  const std::lock_guard lock(life_->mutex);
  if (auto* there = life_->context.load()) asio::post(*there, std::move(task));
}

}  // namespace detail

loop_executor this_loop_executor() { return loop_executor(detail::loop_context::here()); }

asio::execution_context& anywhere_executor::query(asio::execution::context_t) {
  static asio::execution_context none;
  return none;
}

}  // namespace weft::io
