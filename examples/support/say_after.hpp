#pragma once
// The introduction's one coroutine, and the stopwatch that its programs read.

#include <chrono>
#include <ostream>
#include <string>
#include <utility>

#include <weft/deadline.hpp>
#include <weft/lazy.hpp>
#include <weft/this_fiber.hpp>

/// Says `what` after `delay`, and gives it. Calling it runs nothing: it gives a lazy, to be awaited here with get(), or
/// to be handed to spawn or gather. `out` must outlive the work.
inline auto say_after(std::ostream& out, std::chrono::seconds delay, std::string what) {
  return weft::lazy([&out, delay, what = std::move(what)] {
    weft::sleep_for(delay);
    out << what << std::endl;
    return what;
  });
}

/// Prints the whole seconds since it was made, such as `3 s`, by weft's clock: virtual in a simulation.
class stopwatch {
 public:
  friend std::ostream& operator<<(std::ostream& out, const stopwatch& watch) {
    return out << std::chrono::round<std::chrono::seconds>(weft::clock::now() - watch.start_).count() << " s";
  }

 private:
  weft::clock::time_point start_ = weft::clock::now();
};
