#include "workshop.hpp"

#include <algorithm>
#include <string>

#include <weft/deadline.hpp>
#include <weft/spawn.hpp>
#include <weft/timeout.hpp>

namespace images {

namespace {

/// Counts one for as long as it is there.
class one_more {
 public:
  explicit one_more(std::atomic<unsigned>& n) : n_(n) { ++n_; }
  ~one_more() { --n_; }
  one_more(const one_more&) = delete;
  one_more& operator=(const one_more&) = delete;

 private:
  std::atomic<unsigned>& n_;
};

}  // namespace

workshop::place::place(workshop& of) : of_(of) {
  if (!of_.places_.try_acquire()) {
    ++of_.refused_;
    throw of_.come_again("too many pictures at once; please come again");
  }
  ++of_.with_place_;
}

workshop::place::~place() {
  --of_.with_place_;
  of_.places_.release();
}

/// When about half of those who wait have had their turn.
http::error workshop::come_again(const char* why) const {
  const auto turns = most_.waiting / 2 / most_.at_once;
  const auto wait = std::chrono::ceil<std::chrono::seconds>(usual_time() * turns);
  return http::error(http::status::service_unavailable, why)
      .with("Retry-After", std::to_string(std::clamp<std::int64_t>(wait.count(), 1, 30)));
}

processed workshop::make(std::string_view bytes) {
  benches_.acquire();
  const struct give_back {
    weft::semaphore& to;
    ~give_back() { to.release(); }
  } bench{benches_};
  const one_more works(in_work_);

  const auto begun = weft::clock::now();
  try {
    // Owned by the wait: if the client goes away, or the time is up, the task is cancelled and has ended.
    processed made =
        weft::timeout(most_.time, weft::spawn_cpu({.name = "picture"}, [&] { return process(bytes, most_.picture); }));
    note_time(weft::clock::now() - begun);
    ++made_;
    return made;
  } catch (const weft::timed_out&) {
    throw come_again("the picture took too long");  // because of what it is, or because the cores are busy
  }
}

void workshop::note_time(std::chrono::nanoseconds took) noexcept {
  const std::int64_t before = usual_ns_;
  usual_ns_ = before == 0 ? took.count() : before + (took.count() - before) / 8;  // two at once: one counts, no harm
}

}  // namespace images
