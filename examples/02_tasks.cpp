// Tasks: spawn starts both at once, so they wait at the same time; in which order they are awaited no longer matters.
//
// Run it: build/dev/examples/02_tasks
//
// Expected output:
//
//     hello
//     world
//     2 s in all

#include <chrono>
#include <iostream>

#include <weft/weft.hpp>

#include "support/say_after.hpp"

using namespace std::chrono_literals;

void await_tasks(std::ostream& out) {
  const stopwatch time;
  auto hello = weft::spawn(say_after(out, 1s, "hello"));
  auto world = weft::spawn(say_after(out, 2s, "world"));

  world.get();  // 2 s; hello speaks meanwhile
  hello.get();  // is done already
  out << time << " in all" << std::endl;
}

int main() {
  weft::run([] { await_tasks(std::cout); });
  return 0;
}
