// Which of the three to choose? Three jobs, each done by spawn, by spawn_blocking and by spawn_cpu:
//
//   * many connections whose answers are slow: nearly all is waiting;
//   * fewer connections whose answers come at once: a great many short waits;
//   * counting primes: no waiting at all.
//
// The connections are real, to a server in this program. With spawn they use weft's streams, and all share one loop;
// with the other two they are plain blocking sockets, and each takes a thread for as long as it waits. (The server has
// its share of the cores in all three.) The last column tells for how long at most the loop that everything was spawned
// from did not run its other fibers.
//
// Run it: build/release/examples/07_choose
//
// Expected output (these figures: 2 cores, shared with other work; yours, and where they differ the advice, are your
// machine's):
//
//     job                             way                 time   threads  loop held up
//     slow answers, 320 connections   spawn            0.063 s         1         15 ms
//                                     spawn_blocking   0.175 s        64          4 ms
//                                     spawn_cpu        4.862 s         2          8 ms
//     fast answers, 32 connections    spawn            0.467 s         1          2 ms
//                                     spawn_blocking   0.476 s        32         13 ms
//                                     spawn_cpu        0.689 s         2          5 ms
//     primes, 64 ranges               spawn            1.792 s         1       1791 ms
//                                     spawn_blocking   1.376 s        63        279 ms
//                                     spawn_cpu        0.949 s         2         11 ms
//
//     What to choose, by these figures: the fastest;
//     but of ways that take at most 1.5 times as long, one that keeps its loop from others
//     for less than 100 ms, and of those the one on the fewest threads.
//
//     slow answers, 320 connections: spawn
//       spawn_blocking takes 2.8 times as long, on 64 threads instead of 1
//       spawn_cpu takes 77.1 times as long, on 2 threads instead of 1
//
//     fast answers, 32 connections: spawn
//       spawn_blocking takes 1.0 times as long, on 32 threads instead of 1
//       spawn_cpu takes 1.5 times as long, on 2 threads instead of 1
//
//     primes, 64 ranges: spawn_cpu
//       spawn takes 1.9 times as long, and holds up its loop for 1791 ms
//       spawn_blocking takes 1.4 times as long, on 63 threads instead of 2, and holds up its loop for 279 ms

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <weft/weft.hpp>

#include "support/answer_server.hpp"
#include "support/paradigm.hpp"

using namespace std::chrono_literals;

/// Many equal pieces of work; each gives a number, so that it can be checked that all ways do the same work.
struct job {
  std::string name;
  std::size_t pieces = 0;
  std::function<std::uint64_t(std::size_t)> on_a_fiber;
  std::function<std::uint64_t(std::size_t)> on_a_thread;
};

std::uint64_t count_primes(std::uint64_t from, std::uint64_t to) {
  std::uint64_t count = 0;
  for (std::uint64_t n = std::max<std::uint64_t>(from, 2); n < to; ++n) {
    bool prime = true;
    for (std::uint64_t d = 2; prime && d * d <= n; ++d) prime = n % d != 0;
    count += prime;
  }
  return count;
}

/// Starts all pieces of the job with `start` at once, and waits for them.
template <class Start>
trial measure(const std::string& way, std::size_t pieces, const std::function<std::uint64_t(std::size_t)>& work,
              std::uint64_t& sum, Start start) {
  thread_count threads;
  heartbeat heart;
  weft::yield();  // it begins
  const auto begin = weft::clock::now();

  std::vector<weft::future<std::uint64_t>> started;
  for (std::size_t i = 0; i < pieces; ++i)
    started.push_back(start([&work, &threads, i] {
      threads.note();
      return work(i);
    }));
  const auto results = weft::gather(std::move(started)).get();

  const auto time = weft::clock::now() - begin;
  sum = std::accumulate(results.begin(), results.end(), std::uint64_t{0});
  return {way, time, threads.get(), heart.stop()};
}

std::vector<trial> try_all_ways(const job& j) {
  std::uint64_t sums[3];
  std::vector<trial> trials;
  trials.push_back(measure("spawn", j.pieces, j.on_a_fiber, sums[0], [](auto f) { return weft::spawn(f); }));
  trials.push_back(
      measure("spawn_blocking", j.pieces, j.on_a_thread, sums[1], [](auto f) { return weft::spawn_blocking(f); }));
  trials.push_back(measure("spawn_cpu", j.pieces, j.on_a_thread, sums[2], [](auto f) { return weft::spawn_cpu(f); }));
  if (sums[0] != sums[1] || sums[1] != sums[2]) throw std::logic_error("the three ways did not do the same work");
  return trials;
}

void compare_ways(std::ostream& out) {
  const answer_server server;
  const auto where = server.where();
  const auto ask = [where](auto how, std::chrono::milliseconds delay, unsigned times) {
    return [=](std::size_t) -> std::uint64_t {
      how(where, delay, times);
      return times;
    };
  };
  const auto primes = [](std::size_t i) { return count_primes(i * 60'000, (i + 1) * 60'000); };
  const std::vector<job> jobs = {
      {"slow answers, 320 connections", 320, ask(ask_as_fiber, 30ms, 1), ask(ask_and_block, 30ms, 1)},
      {"fast answers, 32 connections", 32, ask(ask_as_fiber, 0ms, 1000), ask(ask_and_block, 0ms, 1000)},
      {"primes, 64 ranges", 64, primes, primes},
  };

  std::string advice;
  print_header(out);
  for (const job& j : jobs) {
    const auto trials = try_all_ways(j);
    for (const trial& t : trials) print_row(out, &t == &trials.front() ? j.name : "", t);
    advice += "\n" + j.name + ": " + advise(trials);
  }
  out << "\nWhat to choose, by these figures: " << rule << "\n" << advice << std::flush;
}

int main() {
  // weft reports tasks that keep their loop for long; here the last column does.
  weft::run([] { compare_ways(std::cout); }, {.stall_after = 0ns});
  return 0;
}
