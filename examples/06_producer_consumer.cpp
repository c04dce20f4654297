// Producers and consumers: the producers wait for numbers that arrive with random delays, as if from a network, a
// database or a file; the consumers do a little arithmetic and send each result on, which takes a moment too. Three
// set-ups do the same work, so what differs is who waits for whom:
//
//   * one after the other: every wait adds to the time;
//   * two producers, one consumer: they wait side by side, and the consumer is what takes longest;
//   * two producers, three consumers: now it is the producers.
//
// Run it: build/dev/examples/06_producer_consumer [count] [seed] [picture.svg]
//         (60 1 06_producer_consumer.svg; gnuplot draws the picture)
//
// Expected output (the times vary a little):
//
//     60 numbers, seed 1
//     one after the other              2.58 s, sum 10561
//     two producers, one consumer      1.25 s, sum 10561
//     two producers, three consumers   0.74 s, sum 10561
//     the picture is in 06_producer_consumer.svg

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <weft/weft.hpp>

#include "support/bar_chart.hpp"
#include "support/producer_consumer.hpp"

const item& receive(const item& next) {
  weft::sleep_for(next.arrival);
  return next;
}

std::uint64_t consume(const item& received) {
  const std::uint64_t result = digit_squares(received.number);
  weft::sleep_for(received.departure);
  return result;
}

std::uint64_t one_after_the_other(const std::vector<item>& items) {
  std::uint64_t sum = 0;
  for (const item& next : items) sum += consume(receive(next));
  return sum;
}

std::uint64_t two_producers(const std::vector<item>& items, std::size_t consumer_count) {
  small_queue<item> queue(8);

  // Each producer has every other item. Both are lazies: gather starts them.
  const auto producer = [&](std::size_t first) {
    return weft::lazy([&, first] {
      for (std::size_t i = first; i < items.size(); i += 2) queue.put(receive(items[i]));
    });
  };
  auto producing = weft::lazy([&] {
    weft::gather(producer(0), producer(1)).get();
    queue.close();
  });

  const auto consumer = [&] {
    std::uint64_t sum = 0;
    while (const auto next = queue.take()) sum += consume(*next);
    return sum;
  };
  std::vector<weft::lazy<decltype(consumer)>> consumers;
  for (std::size_t i = 0; i < consumer_count; ++i) consumers.emplace_back(consumer);

  // All are owned by this one wait, so none outlives the queue, whatever happens.
  auto [produced, sums] = weft::gather(std::move(producing), weft::gather(std::move(consumers))).get();
  return std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
}

struct measurement {
  std::string set_up;
  weft::clock::duration time{};
  std::uint64_t sum = 0;
};

template <class F>
measurement measure(std::string set_up, F&& work) {
  const auto start = weft::clock::now();
  const std::uint64_t sum = work();
  return {std::move(set_up), weft::clock::now() - start, sum};
}

double seconds(weft::clock::duration time) { return std::chrono::duration<double>(time).count(); }

std::vector<measurement> compare_set_ups(std::ostream& out, const std::vector<item>& items) {
  std::vector<measurement> all;
  all.push_back(measure("one after the other", [&] { return one_after_the_other(items); }));
  all.push_back(measure("two producers, one consumer", [&] { return two_producers(items, 1); }));
  all.push_back(measure("two producers, three consumers", [&] { return two_producers(items, 3); }));
  for (const measurement& m : all)
    out << std::left << std::setw(31) << m.set_up << std::right << std::fixed << std::setprecision(2) << std::setw(6)
        << seconds(m.time) << " s, sum " << m.sum << std::endl;
  return all;
}

std::uint64_t parse_number(const char* text) {
  std::uint64_t number = 0;
  const char* const end = text + std::strlen(text);
  if (const auto [stop, error] = std::from_chars(text, end, number); error != std::errc() || stop != end)
    throw std::invalid_argument(std::string("not a number: ") + text);
  return number;
}

int main(int argc, char** argv) try {
  const std::size_t count = argc > 1 ? parse_number(argv[1]) : 60;
  const std::uint64_t seed = argc > 2 ? parse_number(argv[2]) : 1;
  if (count == 0) throw std::invalid_argument("at least one number");
  const std::string picture = argc > 3 ? argv[3] : "06_producer_consumer.svg";

  weft::run([&] {
    std::cout << count << " numbers, seed " << seed << std::endl;
    std::vector<bar> bars;
    for (const measurement& m : compare_set_ups(std::cout, draw_items(count, seed)))
      bars.push_back({m.set_up, seconds(m.time)});

    // gnuplot is a child process, which blocks whoever waits for it: not a fiber's business.
    const std::string title = std::to_string(count) + " numbers, handed on by fibers";
    weft::spawn_blocking([&] { draw_bar_chart(picture, title, "seconds", bars); }).get();
    std::cout << "the picture is in " << picture << std::endl;
  });
  return 0;
} catch (const std::exception& error) {
  std::cerr << argv[0] << ": " << error.what() << std::endl;
  return 1;
}
