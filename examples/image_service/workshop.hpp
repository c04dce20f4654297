#pragma once
// Who may have a picture worked on, and when: so that overload is answered at once, not endured.
//
// Three things are bounded, each where it is used up: uploads, for their bytes are in memory; pictures that wait for a
// worker, by number and by time, in weft's own queue; and the time of each in work. What is too much is 503.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <weft/config.hpp>
#include <weft/task.hpp>

#include "http_kit/status.hpp"
#include "pipeline.hpp"

namespace images {

struct workshop_limits {
  unsigned uploads = 48;                                        ///< with bytes in memory
  unsigned queue = 32;                                          ///< that wait for a worker
  std::chrono::nanoseconds patience = std::chrono::seconds(8);  ///< for a worker
  std::chrono::nanoseconds time = std::chrono::seconds(20);     ///< of a worker's, for one picture
  decode_limits picture = {};

  /// Has the runtime's queue keep these. When for a while all have waited half as long as they may, it takes no more.
  void apply_to(weft::config& c) const {
    c.cpu_queue = queue;
    c.cpu_target = patience / 2;
  }
};

class workshop {
 public:
  explicit workshop(const workshop_limits& most) : most_(most) {}

  /// A place for one upload, from before its first byte is read.
  class place {
   public:
    /// Throws http::error 503, with Retry-After, when there is none, or when the queue takes no picture now.
    explicit place(workshop& of);
    ~place() { --of_.uploads_; }
    place(const place&) = delete;
    place& operator=(const place&) = delete;

   private:
    workshop& of_;
  };

  /// What a picture is called by. Goes before pictures, so that one that is known is answered soon.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; the CPU task has ended.
  /// Threads:  fibers that have a place.
  /// Ordering: none.
  /// Throws:   http::error 503, with Retry-After, when the queue is full, or no worker is free for too long.
  std::string name(std::string_view bytes);

  /// Makes all versions, in a CPU task. As name(), and throws bad_picture; http::error 503 when it takes too long.
  processed make(std::string_view bytes);

  /// An upload had a place, and then no answer.
  void note_cut_off() noexcept { ++cut_off_; }

  [[nodiscard]] const workshop_limits& limits() const noexcept { return most_; }
  // Of the moment, and since the start. Any thread.
  [[nodiscard]] unsigned uploads() const noexcept { return uploads_; }
  [[nodiscard]] std::uint64_t made() const noexcept { return made_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
  [[nodiscard]] std::uint64_t cut_off() const noexcept { return cut_off_; }
  /// What one picture took a worker lately: a moving average.
  [[nodiscard]] std::chrono::nanoseconds usual_time() const noexcept { return std::chrono::nanoseconds(usual_ns_); }

 private:
  template <class F>
  auto on_pool(std::string_view task, weft::cpu_priority priority, const F& f);
  [[nodiscard]] http::error come_again(const char* why) const;
  [[nodiscard]] http::error refuse();
  void note_time(std::chrono::nanoseconds took) noexcept;

  const workshop_limits most_;
  std::atomic<unsigned> uploads_{0};
  std::atomic<std::uint64_t> made_{0};
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> cut_off_{0};
  std::atomic<std::int64_t> usual_ns_{0};
};

}  // namespace images
