#pragma once
// Asio with an asio::thread_pool for the heavy requests: one thread for the sockets, one a core for the work.

#include <asio/post.hpp>
#include <asio/thread_pool.hpp>
#include <latch>
#include <thread>

#include "asio_session.hpp"

namespace bench {

inline asio::awaitable<frame> work_on(frame request) { co_return derive_key(request); }

/// `prepare()` is called once on each thread of the pool.
template <class Prepare>
void serve_with_pool(const server_arguments& given, Prepare prepare) {
  asio::io_context context(1);
  asio::thread_pool pool(given.threads);
  std::latch all(static_cast<std::ptrdiff_t>(given.threads));
  for (unsigned i = 0; i < given.threads; ++i)
    asio::post(pool, [&] {
      prepare();
      all.arrive_and_wait();  // so that no thread gets two
    });
  const auto heavy = [&](frame request) -> asio::awaitable<frame> {
    // Runs in the pool, and comes back to the socket's thread.
    co_return co_await asio::co_spawn(pool, work_on(request), asio::use_awaitable);
  };
  serve_all(context, given.port, heavy, [&] { context.run(); });
  pool.stop();
  pool.join();
}

}  // namespace bench
