#pragma once
// What a thread that ends a task off the loops has for one loop: those who waited for the result, and the record.
//
// Problem: each is a message of its own, and where the loop looks at its inbox meanwhile, or sleeps, a second message
// costs as much as the first: a cache line that goes to and fro, or a wake-up.
// Solution: those who are woken are kept for the moment until the record follows, and all are pushed as one.
//
// Between the two nothing waits and no user code runs, so it is one thread's, and nobody is kept waiting.

#include "weft/runnable.hpp"

namespace weft::detail {

class loop_core;

class outbox {
 public:
  void open() noexcept { open_ = true; }
  void close() noexcept { open_ = false; }

  /// False when r is to be posted by itself: the box is closed, or has something for another loop.
  bool put(loop_core& to, runnable* r) noexcept {
    if (!open_ || (to_ && to_ != &to)) return false;
    to_ = &to;
    add(r);
    return true;
  }

  /// Sends what is in it.
  void send() noexcept;
  /// Sends what is in it, and r.
  void send_with(loop_core& to, runnable* r) noexcept;

 private:
  void add(runnable* r) noexcept {
    if (newest_)
      r->next = newest_;
    else
      oldest_ = r;
    newest_ = r;
  }

  loop_core* to_ = nullptr;
  runnable* newest_ = nullptr;
  runnable* oldest_ = nullptr;
  bool open_ = false;
};

/// The calling thread's.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local outbox tl_outbox;

}  // namespace weft::detail
