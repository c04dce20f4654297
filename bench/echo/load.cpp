// A load for echo servers: connections that each send a message, wait for all of it to come back, check it, and send
// the next. Prints a line of JSON: requests/s, latencies, and what each request and connection cost the server.
//
//   load --port P [--pid P] [--connections 50] [--bytes 64] [--seconds 1] [--threads 1] [--fresh 1]

#include "../support/load.hpp"
#include "../support/long_text.hpp"

int main(int argc, char** argv) {
  bench::options given(argc, argv);
  const std::size_t size = std::max<std::size_t>(1, given.take_count("--bytes", 64));
  const bench::closed_options with(given);
  given.finish();
  const std::string text = bench::long_text(size);
  bench::closed_load<bench::echoed>(with, [&](std::size_t i, int) { return bench::echoed(text, size, i * 31); }).run();
  return 0;
}
