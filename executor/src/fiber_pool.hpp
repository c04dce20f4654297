#pragma once
// The fibers of one loop that have nothing to do, and new ones. One thread's (or the owner locks).
//
// The last used is used next, for its stack is warm. What lies below the warmest is looked at, a few at a time, by
// tidy(): a stack that ran deep gives its pages back.

#include <cstddef>
#include <memory>
#include <new>

#include "fiber_agent.hpp"
#include "stack_pool.hpp"

namespace weft::detail {

class fiber_pool {
 public:
  static constexpr std::size_t warmest = 64;

  fiber_pool(agent::kind what, std::size_t stack_size, std::size_t most, fiber::entry_function* entry,
             slab_place place = slab_place::anywhere)
      : what_(what), entry_(entry), stacks_(stack_size, control_block, most, stack_guard::automatic, place) {}
  ~fiber_pool() {
    stacks_.for_each([](void* control) {
      auto* f = static_cast<fiber_agent*>(control);
      f->destroy(f->area.low, f->size);
      f->~fiber_agent();
    });
  }
  fiber_pool(const fiber_pool&) = delete;
  fiber_pool& operator=(const fiber_pool&) = delete;

  /// One that was used lately; null if there is none.
  fiber_agent* take_warm() noexcept { return warm_.pop(); }

  /// Throws out_of_stacks.
  fiber_agent* take() {
    for (list* l : {&warm_, &cooling_, &cold_})
      if (fiber_agent* f = l->pop()) return f;
    fiber_agent* f = nullptr;
    stacks_.carve([&](const stack& area) {
      f = ::new (static_cast<void*>(area.top)) fiber_agent(what_);
      f->area = area;
      f->size = static_cast<std::uint32_t>(stacks_.size());
      f->make(area.low, static_cast<std::size_t>(area.top - area.low), entry_);
    });
    return f;
  }

  void give_back(fiber_agent* f) noexcept { (warm_.count < warmest ? warm_ : cooling_).push(f); }

  /// Looks at `count` stacks that lie idle, and gives back what the deep ones have committed.
  void tidy(std::size_t count) noexcept {
    while (count-- > 0) {
      fiber_agent* f = cooling_.pop();
      if (!f) return;
      stack_pool::trim(f->area, f->stack_pointer());
      cold_.push(f);
    }
  }

  [[nodiscard]] std::size_t stack_size() const noexcept { return stacks_.size(); }
  [[nodiscard]] std::size_t idle() const noexcept { return warm_.count + cooling_.count + cold_.count; }
  [[nodiscard]] std::size_t made() const noexcept { return stacks_.carved(); }
  [[nodiscard]] const stack_pool& stacks() const noexcept { return stacks_; }

 private:
  struct list {
    fiber_agent* head = nullptr;
    std::size_t count = 0;
    void push(fiber_agent* f) noexcept {
      f->next_idle = head;
      head = f;
      ++count;
    }
    fiber_agent* pop() noexcept {
      fiber_agent* f = head;
      if (f) {
        head = f->next_idle;
        --count;
      }
      return f;
    }
  };

  const agent::kind what_;
  fiber::entry_function* const entry_;
  stack_pool stacks_;
  list warm_;     // recently used
  list cooling_;  // not looked at since
  list cold_;     // looked at
};

}  // namespace weft::detail
