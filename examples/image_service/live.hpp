#pragma once
// What the page's charts show: how the runtime and the service are, twice a second.

#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <weft/deadline.hpp>
#include <weft/watch.hpp>

namespace images {

class workshop;

/// How many answers took how long. The buckets grow by an eighth, so a quantile is that near.
class latency_counts {
 public:
  static constexpr unsigned buckets = 8 * 36;  ///< up to a minute; longer is counted as that

  void add(std::chrono::nanoseconds took) noexcept;
  [[nodiscard]] std::array<std::uint32_t, buckets> read() const noexcept;
  /// The time within which this share of them was answered. None when there are none.
  static std::optional<std::chrono::nanoseconds> quantile(const std::array<std::uint32_t, buckets>& of, double share);

 private:
  static unsigned bucket_of(std::uint64_t ns) noexcept;
  static std::uint64_t end_of(unsigned bucket) noexcept;
  std::array<std::atomic<std::uint32_t>, buckets> counts_{};
};

class live {
 public:
  static constexpr auto period = std::chrono::milliseconds(500);

  /// In a runtime.
  explicit live(const workshop& shop);

  /// A request was answered, in this time. On its loop.
  void answered(std::chrono::nanoseconds took) noexcept;

  /// Looks twice a second, until it is cancelled.
  void run();
  /// The latest look, as JSON.
  weft::watch<std::string>& news() noexcept { return news_; }

 private:
  struct look {
    weft::clock::time_point when;
    std::chrono::nanoseconds process{};  ///< CPU time
    std::chrono::nanoseconds loops{};
    std::array<std::uint32_t, latency_counts::buckets> counts{};
  };
  [[nodiscard]] look now() const;
  [[nodiscard]] std::string compare(const look& before, const look& after) const;

  struct alignas(64) loop_share {
    latency_counts counts;   ///< written by that loop
    clockid_t cpu_time = 0;  ///< of its thread; set before anybody else reads it
  };
  const workshop& shop_;
  std::vector<loop_share> loops_;
  weft::watch<std::string> news_{"{}"};
};

}  // namespace images
