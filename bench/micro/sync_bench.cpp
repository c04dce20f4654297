// Locks of the other kinds, without a contender. An operation takes one and gives it back.

#include <semaphore>
#include <shared_mutex>

#include "support.hpp"

namespace {

template <class Take, class Give>
void take_and_give(benchmark::State& state, Take take, Give give) {
  std::size_t rounds = 0;
  for (auto _ : state) {
    take();
    benchmark::DoNotOptimize(++rounds);
    give();
  }
  bench::check(state, rounds == bench::iterations(state), "a round was lost");
  bench::each(state);
}

template <class Mutex>
void lock_shared(benchmark::State& state) {
  Mutex m;
  take_and_give(
      state, [&] { m.lock_shared(); }, [&] { m.unlock_shared(); });
}
void lock_shared_weft(benchmark::State& state) {
  bench::on_loops(1, [&] { lock_shared<weft::shared_mutex>(state); });
}
WEFT_BENCH("shared_mutex_uncontended/weft", lock_shared_weft);
WEFT_BENCH("shared_mutex_uncontended/std_mutex", lock_shared<std::shared_mutex>);

template <class Semaphore>
void acquire(benchmark::State& state) {
  Semaphore s(1);
  take_and_give(
      state, [&] { s.acquire(); }, [&] { s.release(); });
}
void acquire_weft(benchmark::State& state) {
  bench::on_loops(1, [&] { acquire<weft::semaphore>(state); });
}
WEFT_BENCH("semaphore_uncontended/weft", acquire_weft);
WEFT_BENCH("semaphore_uncontended/std_semaphore", acquire<std::counting_semaphore<>>);

}  // namespace
