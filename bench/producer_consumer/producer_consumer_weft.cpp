// The asyncio introduction's producers and consumers on weft: producers wait for numbers to arrive, consumers do a
// little arithmetic and send each result on, which takes a moment too.
//
//   producer_consumer_weft <items     reads lines "NUMBER ARRIVAL_MS DEPARTURE_MS"; prints a line of JSON for each of
//                                     three set-ups: its seconds, and the sum of the results.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <vector>

#include "weft/weft.hpp"

namespace {

struct item {
  std::uint64_t number = 0;
  std::chrono::duration<double, std::milli> arrival{};
  std::chrono::duration<double, std::milli> departure{};
};

void wait(std::chrono::duration<double, std::milli> time) {
  weft::sleep_for(std::chrono::duration_cast<std::chrono::nanoseconds>(time));
}

const item& receive(const item& next) {
  wait(next.arrival);
  return next;
}

std::uint64_t consume(const item& received) {
  std::uint64_t sum = 0;
  for (std::uint64_t rest = received.number; rest != 0; rest /= 10) sum += (rest % 10) * (rest % 10);
  wait(received.departure);
  return sum;
}

std::uint64_t one_after_the_other(const std::vector<item>& items) {
  std::uint64_t sum = 0;
  for (const item& next : items) sum += consume(receive(next));
  return sum;
}

std::uint64_t two_producers(const std::vector<item>& items, int consumers) {
  weft::channel<item> queue(8);
  std::uint64_t sum = 0;  // of one loop: between two waits nothing else touches it
  weft::with_group([&](weft::task_group& consuming) {
    for (int i = 0; i < consumers; ++i)
      consuming.spawn([&] {
        for (const item& next : queue) {
          const std::uint64_t result = consume(next);
          sum += result;
        }
      });
    weft::with_group([&](weft::task_group& producing) {
      for (const std::size_t first : {std::size_t{0}, std::size_t{1}})
        producing.spawn([&, first] {
          for (std::size_t i = first; i < items.size(); i += 2) queue.send(receive(items[i]));
        });
    });
    queue.close();
  });
  return sum;
}

template <class F>
void measure(const char* name, F work) {
  const auto start = std::chrono::steady_clock::now();
  const std::uint64_t sum = work();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::cout << "{\"set_up\": \"" << name << "\", \"seconds\": " << took.count() << ", \"sum\": " << sum << "}"
            << std::endl;
}

}  // namespace

int main() {
  std::vector<item> items;
  double arrival = 0;
  double departure = 0;
  for (std::uint64_t number = 0; std::cin >> number >> arrival >> departure;)
    items.push_back({number, decltype(item::arrival)(arrival), decltype(item::departure)(departure)});
  weft::run(
      [&] {
        measure("synchronous", [&] { return one_after_the_other(items); });
        measure("2-producers-1-consumer", [&] { return two_producers(items, 1); });
        measure("2-producers-3-consumers", [&] { return two_producers(items, 3); });
      },
      {.loops = 1});
  return 0;
}
