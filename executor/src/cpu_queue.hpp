#pragma once
// What waits for a worker of the CPU pool: in which order it is served, and what is not let in.
//
// Who may touch what:
//   inbox_, pushed_, clear_until_, refused_   any thread; no lock, so that a loop never waits for a worker that was
//                                             preempted, and those are always the ones preempted.
//   popped_, shedding_, waited_               written by workers, under mutex_; read by anybody.
//   the rest                                  workers, under mutex_.
//
// Order: three lanes. The highest that has any entry is served, first come, first served. But the oldest of a lower
// lane is overtaken `patience` times at the most.
//
// Overload, after CoDel (Nichols and Jacobson, Controlling Queue Delay, 2012; RFC 8289): when for an interval no entry
// of the lower two lanes has waited less than the target, the queue does not merely level a burst out, it stands. Then
// new work is refused, but high, until one has waited less or none waits. CoDel drops at the head; here work is refused
// when it comes, for then it is cheapest.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "weft/config.hpp"
#include "weft/deadline.hpp"
#include "weft/task.hpp"

namespace weft::detail {

class cpu_queue {
 public:
  enum class answer : std::uint8_t { welcome, full, overloaded };
  static constexpr std::chrono::milliseconds interval{100};
  /// By how many entries of higher lanes the oldest of a lane may be overtaken: high, normal, low.
  static constexpr std::array<unsigned, 3> patience{0, 8, 32};

  explicit cpu_queue(const config& c) noexcept
      : bound_(c.cpu_queue), target_(c.cpu_target), clear_until_(c.cpu_queue) {}
  cpu_queue(const cpu_queue&) = delete;
  cpu_queue& operator=(const cpu_queue&) = delete;

  // --- any thread ---

  /// Queues a new task, if it is welcome.
  answer offer(cpu_entry& e) noexcept {
    if (shedding_.load(std::memory_order_relaxed) && e.rank != cpu_priority::high) {
      refused_.fetch_add(1, std::memory_order_relaxed);
      return answer::overloaded;
    }
    const std::uint64_t before = pushed_.fetch_add(1, std::memory_order_relaxed);
    if (before >= clear_until_.load(std::memory_order_relaxed) && !look_again(before)) {
      pushed_.fetch_sub(1, std::memory_order_relaxed);
      refused_.fetch_add(1, std::memory_order_relaxed);
      return answer::full;
    }
    link(e, before);
    return answer::welcome;
  }

  /// Queues what has begun already, and is never refused.
  void push(cpu_entry& e) noexcept { link(e, pushed_.fetch_add(1, std::memory_order_relaxed)); }

  [[nodiscard]] std::uint64_t popped() const noexcept { return popped_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t length() const noexcept {
    const std::uint64_t out = popped_.load(std::memory_order_acquire);  // first: the other is ahead of it
    return pushed_.load(std::memory_order_relaxed) - out;
  }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool shedding() const noexcept { return shedding_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::chrono::nanoseconds waited() const noexcept { return waited_.load(std::memory_order_relaxed); }

  // --- workers ---

  /// Null when there is none.
  cpu_entry* pop() noexcept {
    const std::lock_guard lock(mutex_);
    take_in();
    const std::size_t n = choose();
    if (n == lanes_.size()) return nullptr;
    lane& from = lanes_[n];
    cpu_entry* const e = from.first;
    from.first = e->next_entry;
    if (!from.first) from.last = &from.first;
    from.overtaken = 0;
    for (std::size_t lower = n + 1; lower < lanes_.size(); ++lower)
      if (lanes_[lower].first) ++lanes_[lower].overtaken;
    popped_.store(popped_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    learn(*e);
    return e;
  }

  /// With who has queued something, and then looks whether a worker has been called, this is a Dekker: an entry of
  /// whoever does not see yet what the caller did before is seen here. Locked, for a worker may be moving it.
  [[nodiscard]] bool has_any() noexcept {
    const std::lock_guard lock(mutex_);
    return inbox_.load(std::memory_order_seq_cst) || choose() != lanes_.size();
  }

 private:
  struct lane {
    cpu_entry* first = nullptr;
    cpu_entry** last = &first;
    unsigned overtaken = 0;
  };

  // The clock costs as much as the rest: without a target only some entries are timed, for statistics.
  static constexpr std::uint64_t timed_one_in = 64;
  static constexpr auto not_timed = clock::time_point::min();

  // popped_ is another core's; it only grows, so what was seen of it once serves for a while.
  bool look_again(std::uint64_t before) noexcept {
    const std::uint64_t until = popped_.load(std::memory_order_relaxed) + bound_;
    clear_until_.store(until, std::memory_order_relaxed);
    return before < until;
  }

  void link(cpu_entry& e, std::uint64_t number) noexcept {
    e.since = target_.count() > 0 || number % timed_one_in == 0 ? clock::now() : not_timed;
    e.next_entry = inbox_.load(std::memory_order_relaxed);
    // release: pairs with take_in(); seq_cst: with has_any().
    while (!inbox_.compare_exchange_weak(e.next_entry, &e, std::memory_order_seq_cst, std::memory_order_relaxed)) {
    }
  }

  // The last that came is the first of the inbox.
  void take_in() noexcept {
    if (!inbox_.load(std::memory_order_relaxed)) return;
    cpu_entry* came = nullptr;
    for (cpu_entry* e = inbox_.exchange(nullptr, std::memory_order_acquire); e;) {
      cpu_entry* const next = e->next_entry;
      e->next_entry = came;
      came = e;
      e = next;
    }
    while (came) {
      lane& to = lanes_[static_cast<std::size_t>(came->rank)];
      cpu_entry* const next = came->next_entry;
      came->next_entry = nullptr;
      *to.last = came;
      to.last = &came->next_entry;
      came = next;
    }
  }

  [[nodiscard]] std::size_t choose() const noexcept {
    for (std::size_t n = lanes_.size() - 1; n > 0; --n)
      if (lanes_[n].first && lanes_[n].overtaken >= patience[n]) return n;
    std::size_t n = 0;
    while (n < lanes_.size() && !lanes_[n].first) ++n;
    return n;
  }

  void learn(const cpu_entry& e) noexcept {
    if (e.since != not_timed) {
      const auto now = clock::now();
      waited_.store(now - e.since, std::memory_order_relaxed);
      if (target_.count() > 0 && e.rank != cpu_priority::high) {
        if (now - e.since < target_)
          calm();
        else if (standing_since_ == not_timed)
          standing_since_ = now;
        else if (now - standing_since_ >= interval)
          shedding_.store(true, std::memory_order_relaxed);
      }
    }
    if (standing_since_ != not_timed && !lanes_[1].first && !lanes_[2].first && !inbox_.load(std::memory_order_relaxed))
      calm();
  }
  void calm() noexcept {
    standing_since_ = not_timed;
    shedding_.store(false, std::memory_order_relaxed);
  }

  const std::uint64_t bound_;
  const std::chrono::nanoseconds target_;
  alignas(64) std::atomic<cpu_entry*> inbox_{nullptr};
  std::atomic<std::uint64_t> pushed_{0};
  std::atomic<std::uint64_t> clear_until_;  // as long as pushed_ is below, the bound is kept
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<bool> shedding_{false};
  alignas(64) std::mutex mutex_;
  std::atomic<std::uint64_t> popped_{0};
  std::atomic<std::chrono::nanoseconds> waited_{std::chrono::nanoseconds(0)};
  std::array<lane, 3> lanes_;
  clock::time_point standing_since_ = not_timed;
};

}  // namespace weft::detail
