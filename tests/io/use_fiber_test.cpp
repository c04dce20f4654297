#include "weft/io/use_fiber.hpp"

#include <gtest/gtest.h>

#include <array>
#include <asio/bind_executor.hpp>
#include <asio/connect.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <asio/write.hpp>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "io_test.hpp"
#include "weft/io/loop_executor.hpp"

namespace weft::io::use_fiber_test {
namespace {

using namespace std::chrono_literals;
using asio::experimental::as_tuple;
using asio::ip::tcp;

class UseFiber : public testing::WithSockets {};
WEFT_ON_LOOPS(UseFiber);

/// An operation with any signature, that completes at once, inside the call that begins it.
template <class Signature, class Token, class... Args>
auto at_once(Token&& token, Args... args) {
  return asio::async_initiate<Token, Signature>([](auto handler, auto... a) { std::move(handler)(std::move(a)...); },
                                                token, std::move(args)...);
}
/// The same on a thread of its own, which knows of no executor.
template <class Signature, class Token, class... Args>
auto elsewhere(Token&& token, Args... args) {
  return asio::async_initiate<Token, Signature>(
      [](auto handler, auto... a) {
        std::thread([h = std::move(handler), ... b = std::move(a)]() mutable {
          std::move(h)(std::move(b)...);
        }).detach();
      },
      token, std::move(args)...);
}
/// One that is forgotten.
template <class Signature, class Token>
auto never(Token&& token) {
  return asio::async_initiate<Token, Signature>([](auto handler) { auto gone = std::move(handler); }, token);
}

const std::error_code refused = asio::error::make_error_code(asio::error::connection_refused);

std::pair<tcp::socket, tcp::socket> make_sockets() {
  asio::io_context& here = this_io_context();
  tcp::acceptor from(here, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  tcp::socket client(here);
  auto connecting = client.async_connect(from.local_endpoint(), use_future);
  tcp::socket server = from.async_accept(use_fiber);
  connecting.get();
  return {std::move(client), std::move(server)};
}

TEST_P(UseFiber, EverySignatureGivesWhatItSays) {
  run([] {
    at_once<void()>(use_fiber);
    EXPECT_EQ(at_once<void(int)>(use_fiber, 3), 3);
    EXPECT_EQ((at_once<void(int, std::string)>(use_fiber, 3, std::string("x"))), std::tuple(3, std::string("x")));
    at_once<void(std::error_code)>(use_fiber, std::error_code());
    EXPECT_EQ((at_once<void(std::error_code, int)>(use_fiber, std::error_code(), 4)), 4);
    EXPECT_EQ((at_once<void(std::error_code, int, char)>(use_fiber, std::error_code(), 4, 'c')), std::tuple(4, 'c'));
    at_once<void(std::exception_ptr)>(use_fiber, std::exception_ptr());
    EXPECT_EQ((at_once<void(std::exception_ptr, int)>(use_fiber, std::exception_ptr(), 5)), 5);
    auto alone = at_once<void(std::unique_ptr<int>)>(use_fiber, std::make_unique<int>(6));
    EXPECT_EQ(*alone, 6);
    EXPECT_EQ((at_once<void(std::error_code, std::unique_ptr<int>)>(as_tuple(use_fiber), refused, nullptr)),
              std::tuple(refused, std::unique_ptr<int>()));
  });
}

TEST_P(UseFiber, EverySignatureGivesAFuture) {
  run([] {
    at_once<void()>(use_future).get();
    EXPECT_EQ(at_once<void(int)>(use_future, 3).get(), 3);
    at_once<void(std::error_code)>(use_future, std::error_code()).get();
    EXPECT_EQ((at_once<void(std::error_code, int, char)>(use_future, std::error_code(), 4, 'c').get()),
              std::tuple(4, 'c'));
    EXPECT_EQ(*at_once<void(std::unique_ptr<int>)>(use_future, std::make_unique<int>(6)).get(), 6);
    EXPECT_THROW(at_once<void(std::error_code)>(use_future, refused).get(), std::system_error);
    auto failed = at_once<void(std::exception_ptr, int)>(use_future, std::make_exception_ptr(std::range_error("r")), 0);
    EXPECT_THROW(failed.get(), std::range_error);
    EXPECT_THROW(failed.get(), std::range_error);
    EXPECT_THROW(never<void(int)>(use_future).get(), broken_promise);
  });
}

TEST_P(UseFiber, AnErrorIsThrownOrGiven) {
  run([] {
    try {
      at_once<void(std::error_code, int)>(use_fiber, refused, 1);
      ADD_FAILURE();
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), asio::error::connection_refused);
    }
    EXPECT_THROW(at_once<void(std::exception_ptr)>(use_fiber, std::make_exception_ptr(std::range_error("r"))),
                 std::range_error);
    std::error_code given;
    EXPECT_EQ((at_once<void(std::error_code, int)>(use_fiber[given], refused, 7)), 7);
    EXPECT_EQ(given, refused);
    at_once<void(std::error_code)>(use_fiber[given], std::error_code());
    EXPECT_FALSE(given);
    const auto [error, n] = at_once<void(std::error_code, int)>(as_tuple(use_fiber), refused, 8);
    EXPECT_EQ(error, refused);
    EXPECT_EQ(n, 8);
  });
}

TEST_P(UseFiber, ADroppedHandlerIsAnErrorNotAHang) {
  run([] {
    EXPECT_THROW(never<void(std::error_code)>(use_fiber), broken_promise);
    {
      auto own = std::make_unique<asio::io_context>();
      auto late = std::make_unique<asio::steady_timer>(*own, 1h);
      auto waiting = spawn([&] { late->async_wait(use_fiber); });
      auto promised = late->async_wait(use_future);
      yield();
      late.reset();  // its operations are aborted, but nobody runs the io_context to say so
      own.reset();
      EXPECT_THROW(waiting.get(), broken_promise);
      EXPECT_THROW(promised.get(), broken_promise);
    }
    // And where another thread drops it.
    auto own = std::make_unique<asio::io_context>();
    asio::post(*own, [] {});
    auto waiting = spawn([&] {
      asio::async_initiate<const use_fiber_t&, void()>(
          [&](auto handler) { asio::post(*own, [h = std::move(handler)] {}); }, use_fiber);
    });
    yield();
    spawn_blocking([&] { own.reset(); }).get();
    EXPECT_THROW(waiting.get(), broken_promise);
  });
}

TEST_P(UseFiber, WhatBeginningItThrowsIsThrown) {
  run([] {
    const auto begin = [](auto) { throw std::range_error("begin"); };
    EXPECT_THROW((asio::async_initiate<const use_fiber_t&, void()>(begin, use_fiber)), std::range_error);
    EXPECT_THROW((asio::async_initiate<const use_future_t&, void()>(begin, use_future)), std::range_error);
  });
}

TEST_P(UseFiber, SocketsWorkAsTheyDoWithCallbacks) {
  run([] {
    auto [client, server] = make_sockets();
    auto echo = spawn([&s = server] {
      std::array<char, 64> some;
      std::error_code error;
      while (const std::size_t n = s.async_read_some(asio::buffer(some), use_fiber[error]))
        asio::async_write(s, asio::buffer(some, n), use_fiber);
      EXPECT_EQ(error, asio::error::eof);
    });
    for (const std::string text : {"one", "two", "three"}) {
      EXPECT_EQ(asio::async_write(client, asio::buffer(text), use_fiber), text.size());
      std::string back(text.size(), ' ');
      EXPECT_EQ(asio::async_read(client, asio::buffer(back), use_fiber), text.size());
      EXPECT_EQ(back, text);
    }
    client.shutdown(tcp::socket::shutdown_send);
    echo.get();
    EXPECT_THROW(client.async_connect(tcp::endpoint(), use_fiber), std::system_error);
  });
}

TEST_P(UseFiber, ASocketMayHaveTheTokenByDefault) {
  run([] {
    auto timer = use_fiber.as_default_on(asio::steady_timer(this_io_context()));
    timer.expires_after(1ms);
    timer.async_wait();
    EXPECT_LE(timer.expiry(), std::chrono::steady_clock::now());
  });
}

TEST_P(UseFiber, ACancellationEndsTheOperationAndThenTheWait) {
  run([] {
    asio::steady_timer timer(this_io_context(), 1h);
    bool ended = false;
    auto waiting = spawn([&] {
      try {
        timer.async_wait(use_fiber);
      } catch (...) {
        ended = true;
        throw;
      }
    });
    yield();
    waiting.cancel();
    EXPECT_THROW(waiting.get(), cancelled);
    EXPECT_TRUE(ended);
    EXPECT_EQ(timer.cancel(), 0U);  // nobody waits in it any more
    EXPECT_THROW(timeout(1ms, [&] { timer.async_wait(use_fiber); }), timed_out);
    EXPECT_FALSE(move_on_after(1ms, [&] { timer.async_wait(use_fiber); }));

    auto [client, server] = make_sockets();
    std::array<char, 8> some{};
    EXPECT_THROW(timeout(1ms, [&, &s = server] { s.async_read_some(asio::buffer(some), use_fiber); }), timed_out);
    EXPECT_THROW(timeout(1ms, [&, &s = server] { asio::async_read(s, asio::buffer(some), use_fiber); }), timed_out);
    tcp::acceptor from(this_io_context(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    EXPECT_THROW(timeout(1ms, [&] { from.async_accept(use_fiber); }), timed_out);
    asio::write(client, asio::buffer("still", 5));  // a loop may block for so little
    EXPECT_EQ(asio::async_read(server, asio::buffer(some, 5), use_fiber), 5U);
    EXPECT_EQ(std::string(some.data(), 5), "still");
  });
}

TEST_P(UseFiber, ACancelledConnectIsOver) {
  run([] {
    // A listener that does not accept, with its queue full: the next connection waits.
    tcp::acceptor from(this_io_context(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    from.listen(0);
    std::vector<tcp::socket> many;
    bool waited = false;
    for (int i = 0; i < 20 && !waited; ++i) {
      many.emplace_back(this_io_context());
      waited = !move_on_after(20ms, [&] { many.back().async_connect(from.local_endpoint(), use_fiber); });
    }
    EXPECT_TRUE(waited);
  });
}

TEST_P(UseFiber, ACancelledScopeIsSeenBeforeTheOperationBegins) {
  run([] {
    cancel_scope scope;
    scope.cancel();
    bool begun = false;
    EXPECT_FALSE(scope.run([&] {
      asio::async_initiate<const use_fiber_t&, void()>([&](auto handler) { begun = true, std::move(handler)(); },
                                                       use_fiber);
    }));
    EXPECT_FALSE(begun);
  });
}

/// An operation that ends as it likes when it is asked to end.
struct stubborn {
  std::function<void(std::error_code, int)> finish;
  bool asked = false;

  template <class Token>
  auto begin(Token&& token) {
    return asio::async_initiate<Token, void(std::error_code, int)>(
        [this](auto handler) {
          asio::get_associated_cancellation_slot(handler).assign([this](asio::cancellation_type how) {
            EXPECT_EQ(how, asio::cancellation_type::terminal);
            asked = true;
          });
          finish = [h = std::make_shared<decltype(handler)>(std::move(handler))](std::error_code e, int n) {
            auto& handler_there = *h;
            std::move(handler_there)(e, n);
          };
        },
        token);
  }
};

TEST_P(UseFiber, TheFrameStaysUntilTheOperationHasEnded) {
  run([] {
    stubborn what;
    auto waiting = spawn([&] { return what.begin(use_fiber); });
    yield();
    waiting.cancel();
    testing::run_others_until([&] { return what.asked; });
    yield();
    EXPECT_FALSE(waiting.ready());
    what.finish(asio::error::make_error_code(asio::error::operation_aborted), 0);
    EXPECT_THROW(waiting.get(), cancelled);
  });
}

TEST_P(UseFiber, AResultThatComesAllTheSameIsNotLost) {
  run([] {
    stubborn what;
    int got = 0;
    auto waiting = spawn([&] {
      got = what.begin(use_fiber);
      sleep_for(1ms);
    });
    yield();
    waiting.cancel();
    testing::run_others_until([&] { return what.asked; });
    what.finish({}, 9);
    EXPECT_THROW(waiting.get(), cancelled);  // by the wait that came next
    EXPECT_EQ(got, 9);

    stubborn other;
    auto promised = other.begin(use_future);
    promised.cancel();
    testing::run_others_until([&] { return other.asked; });
    EXPECT_FALSE(promised.ready());
    other.finish({}, 10);
    EXPECT_EQ(promised.get(), 10);
  });
}

TEST_P(UseFiber, AsTupleTellsHowMuchACancelledOperationHadMoved) {
  run([] {
    auto [client, server] = make_sockets();
    asio::async_write(client, asio::buffer("abc", 3), use_fiber);
    std::array<char, 8> some{};
    std::optional<std::pair<std::error_code, std::size_t>> got;
    EXPECT_FALSE(move_on_after(20ms, [&, &s = server] {
      const auto [error, n] = asio::async_read(s, asio::buffer(some), as_tuple(use_fiber));
      got.emplace(error, n);
      sleep_for(0s);
    }));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->first, asio::error::operation_aborted);
    EXPECT_EQ(got->second, 3U);

    asio::async_write(client, asio::buffer("def", 3), use_fiber);
    std::error_code error;
    EXPECT_FALSE(move_on_after(20ms, [&, &s = server] {
      asio::async_read(s, asio::buffer(some), use_fiber[error]);
      ADD_FAILURE() << "a cancellation is no error code";
    }));
  });
}

TEST_P(UseFiber, AFutureThatIsCancelledIsReadyWhenTheOperationHasEnded) {
  run([] {
    asio::steady_timer timer(this_io_context(), 1h);
    auto f = timer.async_wait(use_future);
    f.cancel();
    f.cancel();
    EXPECT_THROW(f.get(), cancelled);
    auto g = timer.async_wait(use_future);
    spawn_blocking([&] { g.cancel(); }).get();
    EXPECT_THROW(g.get(), cancelled);
    EXPECT_THROW(timeout(1ms, timer.async_wait(use_future)), timed_out);
    EXPECT_EQ(timer.cancel(), 0U);
  });
}

TEST_P(UseFiber, FuturesOfOperationsAreGathered) {
  run([] {
    auto [client, server] = make_sockets();
    std::array<char, 3> some{};
    auto [wrote, read] = gather(asio::async_write(client, asio::buffer("abc", 3), use_future),
                                asio::async_read(server, asio::buffer(some), use_future))
                             .get();
    EXPECT_EQ(wrote, 3U);
    EXPECT_EQ(read, 3U);
    asio::steady_timer timer(this_io_context(), 1h);
    EXPECT_THROW(gather(timer.async_wait(use_future), at_once<void(std::error_code)>(use_future, refused)).get(),
                 std::system_error);
    EXPECT_EQ(timer.cancel(), 0U);  // the sibling was cancelled, and has ended
  });
}

TEST_P(UseFiber, OperationsMayCompleteOnOtherThreads) {
  run([] {
    for (int i = 0; i < 50; ++i) EXPECT_EQ((elsewhere<void(std::error_code, int)>(use_fiber, std::error_code(), i)), i);
    for (int i = 0; i < 50; ++i)
      EXPECT_EQ((elsewhere<void(std::error_code, int)>(use_future, std::error_code(), i).get()), i);
    asio::thread_pool pool(2);
    const auto strand = asio::make_strand(pool);
    std::vector<future<void>> all;
    for (unsigned i = 0; i < 20; ++i)
      all.push_back(spawn(on_loop(i % loop_count()), [&] {
        for (int k = 0; k < 10; ++k) {
          asio::steady_timer timer(strand, 100us);
          const unsigned here = this_loop();
          timer.async_wait(use_fiber);
          EXPECT_EQ(this_loop(), here);
          asio::steady_timer long_one(pool, 1h);
          EXPECT_FALSE(move_on_after(100us, [&] { long_one.async_wait(use_fiber); }));
          asio::steady_timer other(pool, 100us);
          other.async_wait(use_future).get();
          asio::post(strand, use_fiber);
          asio::post(asio::bind_executor(pool, use_fiber));
        }
      }));
    gather(std::move(all)).get();
    spawn_blocking([&] { pool.join(); }).get();
  });
}

TEST_P(UseFiber, CancellationsAndCompletionsFromOtherThreadsMeet) {
  run([] {
    asio::thread_pool pool(2);
    std::vector<future<void>> all;
    for (unsigned i = 0; i < 8; ++i)
      all.push_back(spawn(on_loop(i % loop_count()), [&, i] {
        for (int k = 0; k < 30; ++k) {
          asio::steady_timer timer(pool, std::chrono::microseconds(50 + 10 * i));
          auto f = spawn([&] { timer.async_wait(use_fiber); });
          yield();
          sleep_for(50us);
          f.cancel();
          f.wait();
          asio::steady_timer second(pool, std::chrono::microseconds(50 + 10 * i));
          auto g = second.async_wait(use_future);
          sleep_for(50us);
          spawn(anywhere, [g] { g.cancel(); }).get();
          g.wait();
        }
      }));
    gather(std::move(all)).get();
    spawn_blocking([&] { pool.join(); }).get();
  });
}

TEST_P(UseFiber, EveryKindOfAgentMayWait) {
  run([] {
    asio::thread_pool pool(1);
    const auto wait = [&] {
      asio::steady_timer timer(pool);
      timer.expires_after(1ms);
      timer.async_wait(use_fiber);
      timer.expires_after(1ms);
      timer.async_wait(use_future).get();
      timer.expires_after(1h);
      EXPECT_FALSE(move_on_after(1ms, [&] { timer.async_wait(use_fiber); }));
    };
    spawn_cpu(wait).get();
    spawn_blocking(wait).get();
    spawn_blocking([&] { pool.join(); }).get();
  });
}

TEST_P(UseFiber, AnObjectOfAnotherLoopIsAnError) {
  run([] {
    if (loop_count() == 1) return;
    asio::steady_timer timer(this_io_context(), 1h);
    spawn(on_loop((this_loop() + 1) % loop_count()), [&] {
      EXPECT_THROW(timer.async_wait(use_fiber), wrong_loop);
      EXPECT_THROW(timer.async_wait(use_future), wrong_loop);
    }).get();
  });
}

TEST_P(UseFiber, AHandlerOfAsioCannotWaitButHaveAFuture) {
  run([] {
    asio::steady_timer timer(this_io_context(), 1ms);
    bool threw = false;
    std::optional<future<void>> f;
    asio::post(this_io_context(), [&] {
      try {
        timer.async_wait(use_fiber);
      } catch (const bad_wait&) {
        threw = true;
      }
      f = timer.async_wait(use_future);
    });
    testing::run_others_until([&] { return f.has_value(); });
    f->get();
    EXPECT_TRUE(threw);
  });
}

TEST_P(UseFiber, ExecutorsMakeTasks) {
  run([] {
    const loop_executor here = this_loop_executor();
    const unsigned home = this_loop();
    promise<unsigned> first;
    asio::post(here, [&] {
      sleep_for(1ms);  // a task may wait
      first.set_value(this_loop());
    });
    EXPECT_EQ(first.get_future().get(), home);
    promise<unsigned> second;
    spawn_blocking([&] { here.execute([&] { second.set_value(this_loop()); }); }).get();
    EXPECT_EQ(second.get_future().get(), home);
    promise<void> third;
    cancel_scope scope;
    scope.run([&] {
      asio::post(anywhere_executor(), [&] {
        sleep_for(1ms);
        third.set_value();
      });
      scope.cancel();  // is none of the task's business
    });
    third.get_future().get();

    asio::strand<anywhere_executor> strand{anywhere_executor()};
    int sum = 0;
    std::vector<future<void>> all;
    for (int i = 1; i <= 100; ++i)
      all.push_back(asio::async_initiate<const use_future_t&, void()>(
          [&](auto handler) {
            asio::post(strand, [&sum, i, h = std::move(handler)]() mutable {
              sum += i;
              std::move(h)();
            });
          },
          use_future));
    gather(std::move(all)).get();
    EXPECT_EQ(sum, 5050);
    asio::any_io_executor any = here;
    asio::steady_timer timer(any, 1ms);
    promise<bool> fourth;
    timer.async_wait([&](std::error_code) {
      sleep_for(1ms);
      fourth.set_value(on_a_loop());
    });
    EXPECT_TRUE(fourth.get_future().get());
  });
}

TEST(UseFiberElsewhere, NeedsARuntimeAndARealWorld) {
  asio::io_context own;
  asio::steady_timer timer(own, 1h);
  EXPECT_THROW(timer.async_wait(use_fiber), no_runtime);
  EXPECT_THROW(timer.async_wait(use_future), no_runtime);
  EXPECT_THROW(this_loop_executor(), no_runtime);
  EXPECT_THROW(anywhere_executor().execute([] {}), no_runtime);
  EXPECT_THROW(sim::run(1, [&] { timer.async_wait(use_fiber); }), std::logic_error);
}

TEST(UseFiberElsewhere, WhatOutlivesTheRuntimeDoesNoHarm) {
  asio::thread_pool pool(1);
  asio::steady_timer timer(pool, 1h);
  future<void> of_pool;
  future<void> of_loop;
  std::optional<loop_executor> executor;
  weft::run([&] {
    executor = this_loop_executor();
    of_pool = timer.async_wait(use_future);
    auto late = std::make_shared<asio::steady_timer>(this_io_context(), 1h);
    of_loop = asio::async_initiate<const use_future_t&, void(std::error_code)>(
        [&](auto handler) {
          late->async_wait([h = std::move(handler), late](std::error_code e) mutable { std::move(h)(e); });
        },
        use_future);
  });
  EXPECT_THROW(of_loop.get(), broken_promise);
  EXPECT_THROW(executor->execute([] {}), no_runtime);
  of_pool.cancel();  // nobody is left who could pass it on
  EXPECT_FALSE(of_pool.ready());
  timer.cancel();
  EXPECT_THROW(of_pool.get(), cancelled);  // its handler had nowhere to go
  pool.join();
}

}  // namespace
}  // namespace weft::io::use_fiber_test
