// A future is a placeholder for something that happens elsewhere. Who makes it happen holds the promise: a task, a
// callback of some driver, a thread that weft knows nothing of.
//
// Run it: build/dev/examples/04_future
//
// Expected output:
//
//     before: not done
//     after 1 s: tea
//     after 1 s, asked again: tea
//     an error that was set before: the pot is empty
//     an error after 2 s: the kettle is broken
//     a thread after 1 s: coffee

#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <weft/weft.hpp>

#include "support/say_after.hpp"

using namespace std::chrono_literals;
using drink = std::string;

void await_placeholders(std::ostream& out) {
  const stopwatch time;

  weft::promise<drink> tea;
  auto cup = tea.get_future();
  auto kitchen = weft::spawn([tea = std::move(tea)] {
    weft::sleep_for(1s);
    tea.set_value("tea");
  });
  out << "before: " << (cup.ready() ? "done" : "not done") << std::endl;
  const drink& served = cup.get();  // not yet done: waits
  out << "after " << time << ": " << served << std::endl;
  const drink& again = cup.get();  // already done: does not wait
  out << "after " << time << ", asked again: " << again << std::endl;

  weft::promise<drink> empty;
  empty.set_exception(std::make_exception_ptr(std::runtime_error("the pot is empty")));
  try {
    empty.get_future().get();  // already failed: throws at once
  } catch (const std::runtime_error& error) {
    out << "an error that was set before: " << error.what() << std::endl;
  }

  weft::promise<drink> broken;
  auto never_served = broken.get_future();
  auto repair = weft::spawn([broken = std::move(broken)] {
    weft::sleep_for(1s);
    broken.set_exception(std::make_exception_ptr(std::runtime_error("the kettle is broken")));
  });
  try {
    never_served.get();  // not yet failed: waits, then throws
  } catch (const std::runtime_error& error) {
    out << "an error after " << time << ": " << error.what() << std::endl;
  }

  weft::gather(std::move(kitchen), std::move(repair)).get();
}

void await_a_thread(std::ostream& out) {
  const stopwatch time;
  weft::promise<drink> coffee;
  auto cup = coffee.get_future();
  const std::jthread machine([coffee = std::move(coffee)] {
    std::this_thread::sleep_for(1s);
    coffee.set_value("coffee");
  });
  weft::run([&] {
    const drink& served = cup.get();  // this fiber waits, not its loop
    out << "a thread after " << time << ": " << served << std::endl;
  });
}

int main() {
  weft::run([] { await_placeholders(std::cout); });
  await_a_thread(std::cout);
  return 0;
}
