#include "workshop.hpp"

#include <algorithm>

#include <weft/deadline.hpp>
#include <weft/error.hpp>
#include <weft/spawn.hpp>
#include <weft/statistics.hpp>
#include <weft/timeout.hpp>

namespace images {

workshop::place::place(workshop& of) : of_(of) {
  // What would be refused later is so now, before its bytes were sent.
  const weft::cpu_statistics pool = weft::get_statistics().cpu;
  if (pool.refusing || pool.queued >= of_.most_.queue) throw of_.refuse();
  if (++of_.uploads_ > of_.most_.uploads) {
    --of_.uploads_;
    throw of_.refuse();
  }
}

/// When about half of those who wait have had their turn.
http::error workshop::come_again(const char* why) const {
  const weft::cpu_statistics pool = weft::get_statistics().cpu;
  const auto turns = static_cast<std::int64_t>(pool.queued / 2 / std::max(pool.workers, 1u));
  const auto wait = std::chrono::ceil<std::chrono::seconds>(usual_time() * turns);
  return http::error(http::status::service_unavailable, why)
      .with("Retry-After", std::to_string(std::clamp<std::int64_t>(wait.count(), 1, 30)));
}

http::error workshop::refuse() {
  ++refused_;
  return come_again("too many pictures at once; please come again");
}

/// Runs f in a CPU task, if a worker is free in time. Owned by the wait: if the client goes away, it has ended.
template <class F>
auto workshop::on_pool(std::string_view task, weft::cpu_priority priority, const F& f) {
  try {
    return weft::spawn_cpu({.name = task, .priority = priority, .start_by = weft::deadline::after(most_.patience)}, f)
        .get();
  } catch (const weft::overloaded&) {
    throw refuse();
  } catch (const weft::timed_out&) {  // not started
    throw refuse();
  }
}

std::string workshop::name(std::string_view bytes) {
  return on_pool("digest", weft::cpu_priority::high, [&] { return digest(bytes); });
}

processed workshop::make(std::string_view bytes) {
  return on_pool("picture", weft::cpu_priority::normal, [&] {
    const auto begun = weft::clock::now();
    try {
      processed made = weft::timeout(most_.time, [&] { return process(bytes, most_.picture); });
      note_time(weft::clock::now() - begun);
      ++made_;
      return made;
    } catch (const weft::timed_out&) {
      throw come_again("the picture took too long");  // because of what it is, or because the cores are busy
    }
  });
}

void workshop::note_time(std::chrono::nanoseconds took) noexcept {
  const std::int64_t before = usual_ns_;
  usual_ns_ = before == 0 ? took.count() : before + (took.count() - before) / 8;  // two at once: one counts, no harm
}

}  // namespace images
