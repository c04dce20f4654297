// The mixed load on Asio, heavy requests handed to an asio::thread_pool.

#include "asio_pool.hpp"

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv, std::thread::hardware_concurrency());
  bench::serve_with_pool(given, [] {});
  return 0;
}
