#include <asio/steady_timer.hpp>
#include <chrono>
#include <weft/io/use_fiber.hpp>
#include <weft/weft.hpp>

int main() {
  return weft::run([] {
    asio::steady_timer(weft::this_io_context(), std::chrono::milliseconds(1)).async_wait(weft::use_fiber);
    auto f = weft::spawn([] { return 42; });
    return f.get() == 42 ? 0 : 1;
  });
}
