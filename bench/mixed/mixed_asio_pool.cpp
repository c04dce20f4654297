// The mixed load on Asio, heavy requests handed to an asio::thread_pool: one thread for the sockets, one a core for the
// work.

#include <asio/thread_pool.hpp>
#include <thread>

#include "asio_session.hpp"

namespace {

asio::awaitable<bench::frame> work_on(bench::frame request) { co_return bench::derive_key(request); }

}  // namespace

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv, std::thread::hardware_concurrency());
  asio::io_context context(1);
  asio::thread_pool pool(given.threads);
  const auto heavy = [&](bench::frame request) -> asio::awaitable<bench::frame> {
    // Runs in the pool, and comes back to the socket's thread.
    co_return co_await asio::co_spawn(pool, work_on(request), asio::use_awaitable);
  };
  bench::serve_all(context, given.port, heavy, [&] { context.run(); });
  pool.stop();
  pool.join();
  return 0;
}
