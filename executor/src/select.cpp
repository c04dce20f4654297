#include "weft/select.hpp"

#include <algorithm>

#include "cancellation.hpp"
#include "weft/error.hpp"
#include "weft/loop.hpp"

namespace weft::detail {

bool select_access::begin(channel_core& c, turn& t, bool sends, const waker& who) noexcept {
  t.shared = true;
  t.granted = false;
  t.stays.store(wait_entry::staying, std::memory_order_relaxed);
  t.where = &c;
  t.who = who;
  t.carry_out = sends ? &channel_core::carry_out_send : &channel_core::carry_out_receive;
  return c.monitor::begin(t);
}

bool select_access::end(channel_core& c, turn& t) noexcept {
  if (!t.granted) c.monitor::retract(t);
  return t.granted && t.how != outcome::retry;
}

select_access::outcome select_access::try_send(channel_core& c, channel_item& item) noexcept {
  return c.try_send_item(item);
}
select_access::outcome select_access::try_receive(channel_core& c, channel_item*& item) noexcept {
  return c.try_receive_item(item);
}

std::size_t choose(std::span<select_arm* const> arms) {
  agent& me = checkpoint_of_caller();
  const std::size_t n = arms.size();
  if (n == 0) throw bad_wait("select() without an arm could never end");
  for (;;) {
    const std::size_t start = random_below(static_cast<std::uint32_t>(n));
    const auto each = [&](auto f) {
      for (std::size_t i = 0; i < n; ++i)
        if (f((start + i) % n)) return (start + i) % n;
      return n;
    };
    std::size_t chosen = each([&](std::size_t i) { return arms[i]->try_now(); });
    if (chosen == n) chosen = each([&](std::size_t i) { return arms[i]->for_want || arms[i]->when.passed(); });
    if (chosen < n) return chosen;

    const auto first_timer = std::min_element(
        arms.begin(), arms.end(), [](const select_arm* a, const select_arm* b) { return a->when < b->when; });
    std::size_t begun = 0;
    const auto end_all = [&] {
      for (std::size_t i = 0; i < begun; ++i)
        if (arms[(start + i) % n]->end()) chosen = (start + i) % n;
    };
    wake_reason how = wake_reason::woken;
    {
      waiter w(me, wait_kind::channel, arms[start]);
      const std::size_t at_once = each([&](std::size_t i) {
        ++begun;
        return arms[i]->begin(me, w.handle());
      });
      if (at_once == n) {
        try {
          how = w.suspend((*first_timer)->when);
        } catch (...) {
          end_all();
          throw;
        }
      }
    }
    end_all();
    if (chosen < n) return chosen;
    if (how == wake_reason::timed_out) return static_cast<std::size_t>(first_timer - arms.begin());
    if (how == wake_reason::cancelled) throw_cancelled(me);
  }
}

}  // namespace weft::detail
