// The mixed load on Asio, heavy requests worked on where they came in: an io_context that every core's thread runs.

#include <thread>
#include <vector>

#include "asio_session.hpp"

int main(int argc, char** argv) {
  const bench::server_arguments given(argc, argv, std::thread::hardware_concurrency());
  asio::io_context context(static_cast<int>(given.threads));
  const auto heavy = [](bench::frame request) -> asio::awaitable<bench::frame> {
    co_return bench::derive_key(request);
  };
  bench::serve_all(context, given.port, heavy, [&] {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < given.threads; ++i) others.emplace_back([&] { context.run(); });
    context.run();
  });
  return 0;
}
