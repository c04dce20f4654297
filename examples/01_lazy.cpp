// Bare coroutines: a weft::lazy names work and runs nothing. get() runs it here and now, so two of them take turns.
//
// Run it: build/dev/examples/01_lazy
//
// Expected output:
//
//     two coroutines are made, and 0 s later nothing has been said
//     world
//     hello
//     3 s in all
//     and once more: already awaited: a lazy runs once; spawn() it and keep the future to await it often

#include <chrono>
#include <iostream>

#include <weft/weft.hpp>

#include "support/say_after.hpp"

using namespace std::chrono_literals;

void await_bare_coroutines(std::ostream& out) {
  const stopwatch time;
  auto hello = say_after(out, 1s, "hello");
  auto world = say_after(out, 2s, "world");
  out << "two coroutines are made, and " << time << " later nothing has been said" << std::endl;

  world.get();  // 2 s, in which hello has not even begun
  hello.get();  // 1 s more
  out << time << " in all" << std::endl;

  try {
    hello.get();
  } catch (const weft::already_awaited& error) {
    out << "and once more: " << error.what() << std::endl;
  }
}

int main() {
  weft::run([] { await_bare_coroutines(std::cout); });
  return 0;
}
