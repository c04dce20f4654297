#pragma once
// Who may work on a picture, and when: so that overload is answered at once, not endured.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include <weft/semaphore.hpp>

#include "http_kit/status.hpp"
#include "pipeline.hpp"

namespace images {

struct workshop_limits {
  unsigned at_once = 2;                                      ///< pictures in work: each has a whole picture in memory
  unsigned waiting = 32;                                     ///< uploads beyond those, each with its bytes in memory
  std::chrono::nanoseconds time = std::chrono::seconds(20);  ///< for one picture
  decode_limits picture = {};
};

class workshop {
 public:
  explicit workshop(const workshop_limits& most)
      : most_(most), places_(most.at_once + most.waiting), benches_(most.at_once) {}

  /// A place for one upload, from before its first byte is read.
  class place {
   public:
    /// Throws http::error 503, with Retry-After, when there is none.
    explicit place(workshop& of);
    ~place();
    place(const place&) = delete;
    place& operator=(const place&) = delete;

   private:
    workshop& of_;
  };

  /// Waits for a turn, and then for a CPU task that makes all versions.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; the CPU task has ended.
  /// Threads:  fibers that have a place.
  /// Ordering: none.
  /// Throws:   bad_picture; http::error 503 when it takes too long.
  processed make(std::string_view bytes);

  /// An upload had a place, and then no answer.
  void note_cut_off() noexcept { ++cut_off_; }

  [[nodiscard]] const workshop_limits& limits() const noexcept { return most_; }
  // Of the moment, and since the start. Any thread.
  [[nodiscard]] unsigned in_work() const noexcept { return in_work_; }
  [[nodiscard]] unsigned with_place() const noexcept { return with_place_; }
  [[nodiscard]] std::uint64_t made() const noexcept { return made_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
  [[nodiscard]] std::uint64_t cut_off() const noexcept { return cut_off_; }
  /// What one picture took lately, from its turn on: a moving average.
  [[nodiscard]] std::chrono::nanoseconds usual_time() const noexcept { return std::chrono::nanoseconds(usual_ns_); }

 private:
  [[nodiscard]] http::error come_again(const char* why) const;
  void note_time(std::chrono::nanoseconds took) noexcept;

  const workshop_limits most_;
  weft::semaphore places_;
  weft::semaphore benches_;
  std::atomic<unsigned> with_place_{0};
  std::atomic<unsigned> in_work_{0};
  std::atomic<std::uint64_t> made_{0};
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> cut_off_{0};
  std::atomic<std::int64_t> usual_ns_{0};
};

}  // namespace images
