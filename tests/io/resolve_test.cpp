#include "weft/io/resolve.hpp"

#include <gtest/gtest.h>
#include <netdb.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "io_test.hpp"
#include "weft/gather.hpp"

namespace weft::io::resolve_test {
namespace {

using namespace std::chrono_literals;
using testing::simulate;

/// Answers with 10.0.0.N, N counting the lookups, after a while; it owns nothing that a test could take away.
struct book {
  struct contents {
    std::atomic<int> asked{0};
    std::atomic<int> problem{0};
    std::chrono::milliseconds takes{0};
  };
  std::shared_ptr<contents> in = std::make_shared<contents>();

  std::vector<endpoint> operator()(const std::string& host, address_family) const {
    const int n = ++in->asked;
    if (in->takes > 0ms) sleep_for(in->takes);
    if (const int code = in->problem) throw error(std::error_code(code, resolve_category()), "resolve", host);
    return {endpoint(endpoint::bytes_v4{10, 0, 0, static_cast<std::uint8_t>(n)}, 0)};
  }
};

int number(const std::vector<endpoint>& found) {
  EXPECT_EQ(found.size(), 1U);
  return found.at(0).address_bytes()[3];
}

TEST(Resolver, AnAnswerIsKeptForItsTime) {
  simulate([] {
    const book b;
    resolver r(b, {.positive_ttl = 10s});
    const auto found = r.resolve("name", 80);
    EXPECT_EQ(found, (std::vector{endpoint(endpoint::bytes_v4{10, 0, 0, 1}, 80)}));
    sleep_for(9s);
    EXPECT_EQ(r.resolve("name", 443).at(0).port(), 443);
    EXPECT_EQ(b.in->asked, 1);
    sleep_for(1s);
    EXPECT_EQ(number(r.resolve("name", 80)), 2);
    EXPECT_EQ(number(r.resolve("other", 80)), 3);
    EXPECT_EQ(number(r.resolve("name", 80, address_family::v4)), 4);  // a question of its own
    EXPECT_EQ(r.size(), 3U);
    r.clear();
    EXPECT_EQ(r.size(), 0U);
    EXPECT_EQ(number(r.resolve("name", 80)), 5);
  });
}

TEST(Resolver, ThatThereIsNoSuchNameIsKeptForAnotherTime) {
  simulate([] {
    const book b;
    b.in->problem = EAI_NONAME;
    resolver r(b, {.positive_ttl = 1h, .negative_ttl = 2s});
    for (int i = 0; i < 3; ++i) {
      try {
        r.resolve("name", 80);
        ADD_FAILURE();
      } catch (const error& e) {
        EXPECT_EQ(e.code(), std::error_code(EAI_NONAME, resolve_category()));
        EXPECT_EQ(e.peer(), "name");
      }
    }
    EXPECT_EQ(b.in->asked, 1);
    sleep_for(2s);
    b.in->problem = 0;
    EXPECT_EQ(number(r.resolve("name", 80)), 2);
  });
}

TEST(Resolver, OtherFailuresAreNotKept) {
  simulate([] {
    const book b;
    b.in->problem = EAI_AGAIN;
    resolver r(b);
    EXPECT_THROW(r.resolve("name", 80), error);
    EXPECT_THROW(r.resolve("name", 80), error);
    EXPECT_EQ(b.in->asked, 2);
    EXPECT_EQ(r.size(), 0U);
  });
}

TEST(Resolver, NothingIsKeptWhereNothingIsToBeKept) {
  simulate([] {
    for (const resolver_options& options : {resolver_options{.positive_ttl = 0s}, resolver_options{.max_entries = 0}}) {
      const book b;
      resolver r(b, options);
      r.resolve("name", 80);
      EXPECT_EQ(number(r.resolve("name", 80)), 2);
      EXPECT_EQ(r.size(), 0U);
    }
    EXPECT_THROW(resolver({.max_lookups = 0}), std::invalid_argument);
    EXPECT_THROW(resolver(resolver::lookup(), {}), std::invalid_argument);
  });
}

TEST(Resolver, EqualQuestionsOfAllLoopsShareOneLookup) {
  simulate([] {
    const book b;
    b.in->takes = 10ms;
    resolver r(b);
    std::vector<future<int>> asking;
    for (unsigned i = 0; i < 10; ++i)
      asking.push_back(spawn(on_loop(i % 2), [&r] { return number(r.resolve("name", 80)); }));
    for (auto& a : asking) EXPECT_EQ(a.get(), 1);
    EXPECT_EQ(b.in->asked, 1);
  });
}

TEST(Resolver, OneWhoIsCancelledTakesNobodysAnswerAway) {
  simulate([] {
    const book b;
    b.in->takes = 100ms;
    resolver r(b);
    auto first = spawn([&r] { return r.resolve("name", 80); });
    auto second = spawn([&r] { return number(r.resolve("name", 80)); });
    sleep_for(10ms);
    const auto before = clock::now();
    first.cancel();
    EXPECT_THROW(first.get(), cancelled);
    EXPECT_EQ(clock::now(), before);
    EXPECT_EQ(second.get(), 1);
    EXPECT_FALSE(move_on_after(10ms, [&] { return r.resolve("other", 80); }));
    EXPECT_EQ(number(r.resolve("other", 80)), 2);  // the lookup went on
    EXPECT_EQ(b.in->asked, 2);
  });
}

TEST(Resolver, TheAnswerThatWasNotUsedForLongestGoesFirst) {
  simulate([] {
    const book b;
    resolver r(b, {.max_entries = 2});
    r.resolve("a", 1);
    r.resolve("b", 1);
    r.resolve("a", 1);
    r.resolve("c", 1);
    EXPECT_EQ(r.size(), 2U);
    EXPECT_EQ(number(r.resolve("a", 1)), 1);
    EXPECT_EQ(number(r.resolve("b", 1)), 4);
  });
}

TEST(Resolver, TooManyLookupsAtATimeAreAnError) {
  simulate([] {
    const book b;
    b.in->takes = 10ms;
    resolver r(b, {.max_lookups = 2});
    auto one = spawn([&r] { r.resolve("a", 1); });
    auto two = spawn([&r] { r.resolve("b", 1); });
    sleep_for(1ms);
    try {
      r.resolve("c", 1);
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::error_code(EAI_AGAIN, resolve_category()));
    }
    EXPECT_EQ(number(r.resolve("a", 1)), number(r.resolve("a", 1)));
    one.get();
    two.get();
    r.resolve("c", 1);
  });
}

TEST(Resolver, MayGoWhileALookupIsUnderWay) {
  simulate([] {
    const book b;
    b.in->takes = 10ms;
    {
      resolver r(b);
      EXPECT_FALSE(move_on_after(1ms, [&] { return r.resolve("name", 80); }));
    }
    sleep_for(1s);
    EXPECT_EQ(b.in->asked, 1);
  });
}

TEST(Resolver, OutlivesARuntimeThatEndsUnderALookup) {
  const book b;
  std::promise<void> go_on;
  const auto released = std::make_shared<std::shared_future<void>>(go_on.get_future());
  const auto begun = std::make_shared<std::atomic<bool>>(false);
  resolver r([=](const std::string& host, address_family family) {
    if (host == "hangs") {
      begun->store(true);
      released->wait();
    }
    return b(host, family);
  });
  ::testing::internal::CaptureStderr();
  weft::run(
      [&] {
        (void)spawn([&] { r.resolve("hangs", 80); });
        EXPECT_EQ(number(r.resolve("name", 80)), 1);
        testing::run_others_until([&] { return begun->load(); });
      },
      {.abandon_grace = 1ms});
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("was abandoned"), std::string::npos);
  go_on.set_value();
  weft::run([&] {
    EXPECT_EQ(number(r.resolve("name", 80)), 1);
    EXPECT_GT(number(r.resolve("hangs", 80)), 1);
  });
}

class ResolverOnLoops : public testing::WithSockets {};
WEFT_ON_LOOPS(ResolverOnLoops);

TEST_P(ResolverOnLoops, AgentsOfEveryKindAskAtOnce) {
  run([] {
    const book b;
    resolver r(b, {.max_entries = 3});
    const auto ask = [&r] {
      for (int i = 0; i < 50; ++i) r.resolve("name " + std::to_string(i % 7), 80);
    };
    std::vector<future<void>> all;
    for (unsigned i = 0; i < 8; ++i) all.push_back(spawn(on_loop(i % loop_count()), ask));
    all.push_back(spawn_cpu(ask));
    all.push_back(spawn_blocking(ask));
    for (auto& a : all) a.get();
    EXPECT_LE(r.size(), 3U);
  });
}

TEST_P(ResolverOnLoops, TheSystemKnowsTheFamilies) {
  run([] {
    resolver r;
    EXPECT_EQ(r.resolve("127.0.0.1", 80, address_family::v4), std::vector{endpoint::loopback(80)});
    try {
      r.resolve("127.0.0.1", 80, address_family::v6);
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code().category(), resolve_category());
    }
    for (const endpoint& e : r.resolve("localhost", 1, address_family::v4)) EXPECT_TRUE(e.is_v4());
  });
}

// getaddrinfo(3) would look up what is before the zero.
TEST_P(ResolverOnLoops, ANameWithAZeroInItIsNone) {
  run([] {
    for (const std::string& host : {std::string("127.0.0.1\0.example.org", 22), std::string()}) {
      try {
        resolver().resolve(host, 80);
        ADD_FAILURE() << host;
      } catch (const error& e) {
        EXPECT_EQ(e.code(), std::error_code(EAI_NONAME, resolve_category()));
      }
      EXPECT_THROW(connect(host, 80), error);
    }
  });
}

}  // namespace
}  // namespace weft::io::resolve_test
