// gather waits for many at once. It takes futures and coroutines alike, gives their results in the order of its
// arguments, whichever ends first, and lets the first error out, having called off the rest.
//
// Run it: build/dev/examples/05_gather
//
// Expected output:
//
//     hello
//     after 2 s: 42 and hello
//     after 3 s: the disk is full

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

#include <weft/weft.hpp>

#include "support/say_after.hpp"

using namespace std::chrono_literals;

/// A function that returns a future: the work runs already.
weft::future<int> number_after(std::chrono::seconds delay, int number) {
  return weft::spawn([=] {
    weft::sleep_for(delay);
    return number;
  });
}

/// A coroutine that fails.
auto fail_after(std::chrono::seconds delay, std::string why) {
  return weft::lazy([=] {
    weft::sleep_for(delay);
    throw std::runtime_error(why);
  });
}

void gather_results_in_order(std::ostream& out) {
  const stopwatch time;
  auto [number, word] = weft::gather(number_after(2s, 42), say_after(out, 1s, "hello")).get();
  out << "after " << time << ": " << number << " and " << word << std::endl;

  try {
    weft::gather(fail_after(2s, "the network is down"),  // too late to be the first
                 fail_after(1s, "the disk is full"),     //
                 say_after(out, 3s, "never said"))       // called off
        .get();
  } catch (const std::runtime_error& error) {
    out << "after " << time << ": " << error.what() << std::endl;
  }
}

int main() {
  weft::run([] { gather_results_in_order(std::cout); });
  return 0;
}
