#pragma once
// Streams for tests: pairs of every kind, and a look at the descriptors of the process.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>

#include "weft/io.hpp"
#include "weft/testing/contract.hpp"
#include "weft_test.hpp"

namespace weft::testing {

/// How many descriptors the process has.
inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all))) - 1;  // without the one that lists them
}

/// A test of real sockets, on 1, 2 and 4 loops: no descriptor is left, and nothing takes longer than 20 s.
class WithSockets : public OnLoops {
 protected:
  template <class F>
  void run(F&& body) {
    weft::run([] {}, settings());  // what is opened once and for all is open now
    const std::size_t before = open_descriptors();
    OnLoops::run([&] { EXPECT_TRUE(within(std::chrono::seconds(20), std::forward<F>(body))) << "it hangs"; });
    EXPECT_EQ(open_descriptors(), before);
  }
};

inline std::pair<io::stream, io::stream> tcp_pair() {
  io::listener l = io::listen(io::endpoint::loopback(0));
  io::stream client = io::connect(l.local());
  return {std::move(client), l.accept()};
}

/// Has close() send a reset.
inline void reset_on_close(io::stream& s) {
  const ::linger none{1, 0};
  ASSERT_EQ(::setsockopt(s.native_handle(), SOL_SOCKET, SO_LINGER, &none, sizeof(none)), 0);
}

/// Breaks a TCP connection off, whatever is carried by it: both sides get a reset.
inline void break_connection(io::stream& s) {
  ::sockaddr none{};
  none.sa_family = AF_UNSPEC;  // see connect(2)
  EXPECT_EQ(::connect(s.native_handle(), &none, sizeof(none)), 0);
}

/// Lets other fibers run until done() holds; fails after a while.
template <class Done>
void run_others_until(Done done) {
  const auto limit = clock::now() + std::chrono::seconds(10);
  while (!done()) {
    ASSERT_LT(clock::now(), limit) << "it did not come to that";
    sleep_for(std::chrono::microseconds(100));
  }
}

/// Reads to the end of the stream.
inline std::string read_all(io::stream& s) {
  std::string all;
  char some[1024];
  while (const std::size_t n = s.read_some(std::span(some))) all.append(some, n);
  return all;
}

/// n bytes, each different from its neighbours.
inline std::string pattern(std::size_t n) {
  std::string unit(26 * 5, '\0');
  for (std::size_t i = 0; i < unit.size(); ++i) unit[i] = static_cast<char>('a' + i % 26 + i / 26);
  std::string text;
  text.reserve(n + unit.size());
  while (text.size() < n) text += unit;
  text.resize(n);
  return text;
}

}  // namespace weft::testing
