// The mixed load on Asio, heavy requests handed to an asio::thread_pool whose threads have niceness 19.

#include <sys/resource.h>
#include <unistd.h>

#include "asio_pool.hpp"

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv, std::thread::hardware_concurrency());
  bench::serve_with_pool(given, [] {
    if (::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19) != 0) std::abort();
  });
  return 0;
}
