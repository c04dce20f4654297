#include "live.hpp"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include <weft/gather.hpp>
#include <weft/inspect.hpp>
#include <weft/interval.hpp>
#include <weft/loop.hpp>
#include <weft/spawn.hpp>
#include <weft/statistics.hpp>

#include "workshop.hpp"

namespace images {

namespace {

using std::chrono::nanoseconds;

nanoseconds read_clock(clockid_t which) {
  timespec t{};
  clock_gettime(which, &t);
  return std::chrono::seconds(t.tv_sec) + nanoseconds(t.tv_nsec);
}

double milliseconds(nanoseconds t) { return std::chrono::duration<double, std::milli>(t).count(); }

nlohmann::json milliseconds(std::optional<nanoseconds> t) {
  return t ? nlohmann::json(milliseconds(*t)) : nlohmann::json(nullptr);
}

}  // namespace

/// Three bits behind the first one that is set: as a floating-point number has them.
unsigned latency_counts::bucket_of(std::uint64_t ns) noexcept {
  const std::uint64_t n = std::max<std::uint64_t>(ns, 8);
  const auto exponent = static_cast<unsigned>(std::bit_width(n)) - 4;
  return std::min(buckets - 1, exponent * 8 + static_cast<unsigned>(n >> exponent) - 8);
}

std::uint64_t latency_counts::end_of(unsigned bucket) noexcept { return (bucket % 8 + 9ull) << (bucket / 8); }

void latency_counts::add(nanoseconds took) noexcept {
  counts_[bucket_of(static_cast<std::uint64_t>(std::max<std::int64_t>(took.count(), 0)))].fetch_add(
      1, std::memory_order_relaxed);
}

std::array<std::uint32_t, latency_counts::buckets> latency_counts::read() const noexcept {
  std::array<std::uint32_t, buckets> all{};
  for (unsigned i = 0; i < buckets; ++i) all[i] = counts_[i].load(std::memory_order_relaxed);
  return all;
}

std::optional<nanoseconds> latency_counts::quantile(const std::array<std::uint32_t, buckets>& of, double share) {
  std::uint64_t all = 0;
  for (const auto n : of) all += n;
  if (all == 0) return std::nullopt;
  std::uint64_t sum = 0;
  unsigned bucket = 0;
  while (static_cast<double>(sum += of[bucket]) < share * static_cast<double>(all)) ++bucket;
  return nanoseconds(end_of(bucket));
}

live::live(const workshop& shop) : shop_(shop), loops_(weft::loop_count()) {
  std::vector<weft::future<void>> asked;
  for (unsigned i = 0; i < loops_.size(); ++i)
    asked.push_back(
        weft::spawn(weft::on_loop(i), [&here = loops_[i]] { pthread_getcpuclockid(pthread_self(), &here.cpu_time); }));
  weft::gather(std::move(asked)).get();
}

void live::answered(nanoseconds took) noexcept { loops_[weft::this_loop()].counts.add(took); }

void live::run() {
  weft::interval ticks(period, weft::missed_tick::delay);
  for (look before = now();;) {
    ticks.tick();
    const look after = now();
    if (after.when == before.when) continue;
    news_.send(compare(before, after));
    before = after;
  }
}

live::look live::now() const {
  look l;
  l.when = weft::clock::now();
  l.process = read_clock(CLOCK_PROCESS_CPUTIME_ID);
  for (const auto& loop : loops_) {
    l.loops += read_clock(loop.cpu_time);
    const auto counts = loop.counts.read();
    for (unsigned i = 0; i < counts.size(); ++i) l.counts[i] += counts[i];
  }
  return l;
}

std::string live::compare(const look& before, const look& after) const {
  auto counts = after.counts;
  std::uint64_t requests = 0;
  for (unsigned i = 0; i < counts.size(); ++i) requests += counts[i] -= before.counts[i];
  const double seconds = std::chrono::duration<double>(after.when - before.when).count();
  const auto share = [seconds](nanoseconds cpu_time, std::size_t threads) {
    return std::clamp(std::chrono::duration<double>(cpu_time).count() / seconds / static_cast<double>(threads), 0., 1.);
  };
  const weft::statistics runtime = weft::get_statistics();
  return nlohmann::json{
      {"requests", static_cast<double>(requests) / seconds},
      {"p50", milliseconds(latency_counts::quantile(counts, 0.5))},
      {"p99", milliseconds(latency_counts::quantile(counts, 0.99))},
      {"loops", share(after.loops - before.loops, loops_.size())},
      // What is not the loops' is the pool's, but for little: files and SQLite.
      {"pool", share((after.process - before.process) - (after.loops - before.loops), runtime.cpu_workers)},
      {"working", runtime.cpu.busy},
      {"queued", runtime.cpu.queued},
      {"queue_limit", shop_.limits().queue},
      {"queued_ms", milliseconds(runtime.cpu.waited)},
      {"expired", runtime.cpu.expired},
      {"refusing", runtime.cpu.refusing},
      {"uploads", shop_.uploads()},
      {"loop_count", loops_.size()},
      {"workers", runtime.cpu_workers},
      {"tasks", weft::inspect().size()},
      {"pictures", shop_.made()},
      {"picture_ms", shop_.made() ? nlohmann::json(milliseconds(shop_.usual_time())) : nlohmann::json(nullptr)},
      {"refused", shop_.refused()}}
      .dump();
}

}  // namespace images
