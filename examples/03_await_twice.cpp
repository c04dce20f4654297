// A task can be awaited as often as you like: the work is done once, and every await gives the same value.
//
// Run it: build/dev/examples/03_await_twice
//
// Expected output:
//
//     hello
//     the first await gave hello after 3 s
//     the second await gave hello after 3 s
//     both gave the same object

#include <chrono>
#include <iostream>
#include <string>

#include <weft/weft.hpp>

#include "support/say_after.hpp"

using namespace std::chrono_literals;

void await_one_task_twice(std::ostream& out) {
  const stopwatch time;
  auto task = weft::spawn(say_after(out, 3s, "hello"));

  const std::string& first = task.get();
  out << "the first await gave " << first << " after " << time << std::endl;
  const std::string& second = task.get();
  out << "the second await gave " << second << " after " << time << std::endl;
  if (&first == &second) out << "both gave the same object" << std::endl;
}

int main() {
  weft::run([] { await_one_task_twice(std::cout); });
  return 0;
}
