#pragma once
// The ready queue of a loop: an intrusive FIFO that only its owner touches.
// Unbounded, because each entry is a task or fiber that somebody already pays for: pushing allocates nothing.

#include <cstddef>
#include <utility>

#include "weft/runnable.hpp"

namespace weft::detail {

class run_queue {
 public:
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  /// For simulation.
  [[nodiscard]] std::size_t size() const noexcept {
    std::size_t n = 0;
    for (const runnable* r = head_; r; r = r->next) ++n;
    return n;
  }

  void push(runnable* r) noexcept {
    r->next = nullptr;
    // As likely as not: neither way is to lie out of the other's.
    *(__builtin_expect_with_probability(head_ != nullptr, true, 0.5) ? &tail_->next : &head_) = r;
    tail_ = r;
  }

  /// Who is the next, if any.
  [[nodiscard]] runnable* front() const noexcept { return head_; }
  runnable* pop() noexcept {
    runnable* r = head_;
    if (r) pop(r);
    return r;
  }
  /// front(), where the caller has looked.
  void pop(runnable* front) noexcept { head_ = front->next; }

  /// Takes the i-th entry; i < size(). For simulation, which draws the order.
  runnable* take(std::size_t i) noexcept {
    runnable* before = nullptr;
    runnable* r = head_;
    for (; i > 0; --i) before = std::exchange(r, r->next);
    (before ? before->next : head_) = r->next;
    if (tail_ == r) tail_ = before;
    return r;
  }

 private:
  runnable* head_ = nullptr;
  runnable* tail_ = nullptr;
};

}  // namespace weft::detail
