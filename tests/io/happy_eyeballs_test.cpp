#include "weft/io/happy_eyeballs.hpp"

#include <gtest/gtest.h>
#include <netdb.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io_test.hpp"

namespace weft::io::happy_eyeballs_test {
namespace {

using namespace std::chrono_literals;
using testing::simulate;
using testing::time_of;

endpoint v4(std::uint8_t last) { return {endpoint::bytes_v4{192, 0, 2, last}, 80}; }
endpoint v6(std::uint8_t last) {
  endpoint::bytes_v6 bytes{0x20, 0x01, 0x0d, 0xb8};
  bytes[15] = last;
  return {bytes, 80};
}

/// A network on virtual time: how long each address takes to answer, and whether it refuses.
struct network {
  struct behaviour {
    std::chrono::milliseconds takes;
    bool refuses = false;
  };
  std::map<endpoint, behaviour> answers;  // others never do
  std::vector<endpoint> v4s;
  std::vector<endpoint> v6s;
  std::chrono::milliseconds v4_lookup = 0ms;
  std::chrono::milliseconds v6_lookup = 0ms;
  int v4_problem = 0;
  int v6_problem = 0;

  clock::time_point start = clock::now();
  std::vector<std::pair<endpoint, clock::duration>> attempts;
  int open = 0;
  int lookups = 0;

  struct connection {
    connection(network& n, endpoint e) : net(&n), to(e) { ++net->open; }
    connection(connection&& other) noexcept : net(std::exchange(other.net, nullptr)), to(other.to) {}
    connection& operator=(connection&&) = delete;
    ~connection() {
      if (net) --net->open;
    }
    network* net;
    endpoint to;
  };

  auto lookup() {
    return [this](address_family family) {
      ++lookups;
      struct end {
        int& count;
        ~end() { --count; }
      } const at_the_end{lookups};
      const bool four = family == address_family::v4;
      sleep_for(four ? v4_lookup : v6_lookup);
      if (const int problem = four ? v4_problem : v6_problem)
        throw error(std::error_code(problem, resolve_category()), "resolve", "name");
      return four ? v4s : v6s;
    };
  }
  auto connect() {
    return [this](const endpoint& to) {
      attempts.emplace_back(to, clock::now() - start);
      connection c(*this, to);
      const auto found = answers.find(to);
      if (found == answers.end()) sleep_for(24h);
      sleep_for(found->second.takes);
      if (found->second.refuses)
        throw error(std::error_code(ECONNREFUSED, std::system_category()), "connect to", to_string(to));
      return c;
    };
  }
  endpoint run(const happy_eyeballs_options& options = {}) {
    endpoint to;
    {
      const connection c = happy_eyeballs("name:80", lookup(), connect(), options);
      EXPECT_EQ(open, 1);  // the others are gone
      to = c.to;
    }
    EXPECT_EQ(open, 0);
    EXPECT_EQ(lookups, 0);
    return to;
  }
  error failure(const happy_eyeballs_options& options = {}) {
    try {
      run(options);
    } catch (const error& e) {
      EXPECT_EQ(open, 0);
      EXPECT_EQ(lookups, 0);
      return e;
    }
    ADD_FAILURE() << "it worked";
    return {{}, "", ""};
  }
};

using attempts = std::vector<std::pair<endpoint, clock::duration>>;

TEST(HappyEyeballs, FamiliesTakeTurnsAndAttemptsKeepTheirDistance) {
  simulate([] {
    network n;
    n.v4s = {v4(1), v4(2), v4(3)};
    n.v6s = {v6(1), v6(2)};
    n.answers[v4(3)] = {10ms};
    EXPECT_EQ(n.run(), v4(3));
    EXPECT_EQ(n.attempts, (attempts{{v6(1), 0ms}, {v4(1), 250ms}, {v6(2), 500ms}, {v4(2), 750ms}, {v4(3), 1000ms}}));
    EXPECT_EQ(clock::now() - n.start, 1010ms);
  });
}

TEST(HappyEyeballs, AnAddressThatAnswersAtOnceIsTheOnlyOneTried) {
  simulate([] {
    network n;
    n.v4s = {v4(1)};
    n.v6s = {v6(1)};
    n.answers[v6(1)] = {100ms};
    EXPECT_EQ(n.run(), v6(1));
    EXPECT_EQ(n.attempts, (attempts{{v6(1), 0ms}}));
  });
}

TEST(HappyEyeballs, ASlowFirstAnswerStillWinsOverASlowerSecond) {
  simulate([] {
    network n;
    n.v4s = {v4(1)};
    n.v6s = {v6(1)};
    n.answers[v6(1)] = {300ms};
    n.answers[v4(1)] = {100ms};
    EXPECT_EQ(n.run(), v6(1));
    EXPECT_EQ(clock::now() - n.start, 300ms);
    EXPECT_EQ(n.attempts.size(), 2U);
  });
}

TEST(HappyEyeballs, TwoAnswersAtOneTimeGiveOneConnection) {
  simulate([] {
    network n;
    n.v4s = {v4(1)};
    n.v6s = {v6(1)};
    n.answers[v6(1)] = {350ms};
    n.answers[v4(1)] = {100ms};
    n.run();
    EXPECT_EQ(clock::now() - n.start, 350ms);
  });
}

TEST(HappyEyeballs, ARefusalHasTheNextTriedAtOnce) {
  simulate([] {
    network n;
    n.v4s = {v4(1), v4(2)};
    n.v6s = {v6(1)};
    n.answers[v6(1)] = {20ms, true};
    n.answers[v4(1)] = {5ms, true};
    n.answers[v4(2)] = {7ms};
    EXPECT_EQ(n.run(), v4(2));
    EXPECT_EQ(n.attempts, (attempts{{v6(1), 0ms}, {v4(1), 20ms}, {v4(2), 25ms}}));
  });
}

TEST(HappyEyeballs, ThePreferredFamilyGetsAMomentLongerToBeResolved) {
  simulate([] {
    network n;
    n.v4s = {v4(1)};
    n.v6s = {v6(1)};
    n.v4_lookup = 10ms;
    n.v6_lookup = 40ms;
    n.answers[v6(1)] = {5ms};
    EXPECT_EQ(n.run(), v6(1));
    EXPECT_EQ(n.attempts, (attempts{{v6(1), 40ms}}));
  });
}

TEST(HappyEyeballs, AFamilyThatTakesTooLongIsNotWaitedForButJoinsLater) {
  simulate([] {
    network n;
    n.v4s = {v4(1), v4(2)};
    n.v6s = {v6(1)};
    n.v4_lookup = 10ms;
    n.v6_lookup = 100ms;
    n.answers[v6(1)] = {5ms};
    EXPECT_EQ(n.run(), v6(1));
    EXPECT_EQ(n.attempts, (attempts{{v4(1), 60ms}, {v6(1), 310ms}}));
  });
}

TEST(HappyEyeballs, ALookupThatNeverEndsHoldsNothingUp) {
  simulate([] {
    network n;
    n.v4s = {v4(1)};
    n.v6_lookup = 1h;
    n.answers[v4(1)] = {5ms};
    EXPECT_EQ(n.run(), v4(1));
    EXPECT_EQ(clock::now() - n.start, 55ms);
  });
}

TEST(HappyEyeballs, AFamilyWithoutAddressesIsNotWaitedFor) {
  simulate([] {
    network n;
    n.v4s = {v4(1)};
    n.v4_lookup = 1ms;
    n.v6_lookup = 20ms;
    n.v6_problem = EAI_NONAME;
    n.answers[v4(1)] = {5ms};
    EXPECT_EQ(n.run(), v4(1));
    EXPECT_EQ(n.attempts, (attempts{{v4(1), 20ms}}));
  });
}

TEST(HappyEyeballs, TheOtherFamilyCanBePreferred) {
  simulate([] {
    network n;
    n.v4s = {v4(1), v4(2)};
    n.v6s = {v6(1)};
    n.answers[v4(2)] = {1ms};
    EXPECT_EQ(n.run({.first = address_family::v4}), v4(2));
    EXPECT_EQ(n.attempts, (attempts{{v4(1), 0ms}, {v6(1), 250ms}, {v4(2), 500ms}}));
    EXPECT_EQ(n.failure({.timeout = 0ns, .first = address_family::v4}).code(), std::errc::timed_out);
  });
}

TEST(HappyEyeballs, WhenAllFailTheErrorTellsOfEach) {
  simulate([] {
    network n;
    n.v4s = {v4(1)};
    n.v6s = {v6(1)};
    n.answers[v6(1)] = {20ms, true};
    n.answers[v4(1)] = {20ms, true};
    const error e = n.failure();
    EXPECT_EQ(e.code(), std::errc::connection_refused);
    EXPECT_EQ(e.peer(), "name:80");
    EXPECT_NE(std::string(e.what()).find("tried [2001:db8::1]:80 ("), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("192.0.2.1:80 ("), std::string::npos) << e.what();
    n.v6s.clear();
    EXPECT_EQ(n.failure().peer(), "192.0.2.1:80");  // the only one speaks for itself
  });
}

TEST(HappyEyeballs, AFailedLookupIsTheErrorOnlyWhenThereIsNoAddress) {
  simulate([] {
    network n;
    n.v4_problem = EAI_AGAIN;
    n.v6_problem = EAI_NONAME;
    EXPECT_EQ(n.failure().code().category(), resolve_category());
    n.v6_problem = 0;
    n.v6s = {v6(1)};
    n.answers[v6(1)] = {1ms, true};
    EXPECT_EQ(n.failure().code(), std::errc::connection_refused);
    n.v4_problem = 0;
    n.v6s.clear();
    EXPECT_EQ(n.failure().code(), std::errc::address_not_available);
  });
}

TEST(HappyEyeballs, TheTimeLimitHoldsForAllOfIt) {
  simulate([] {
    network n;
    n.v4s = {v4(1)};
    n.v6s = {v6(1)};
    error e = n.failure({.timeout = 400ms});
    EXPECT_EQ(e.code(), std::errc::timed_out);
    EXPECT_NE(std::string(e.what()).find("2 attempts had no answer yet"), std::string::npos) << e.what();
    EXPECT_EQ(clock::now() - n.start, 400ms);
    n.v4_lookup = n.v6_lookup = 1h;
    EXPECT_EQ(time_of([&] { e = n.failure({.timeout = 400ms}); }), 400ms);
    EXPECT_EQ(e.code(), std::errc::timed_out);
  });
}

TEST(HappyEyeballs, ACancellationAtAnyTimeLeavesNothing) {
  simulate([] {
    network n;
    n.v4s = {v4(1), v4(2)};
    n.v6s = {v6(1), v6(2)};
    n.v4_lookup = 5ms;
    n.v6_lookup = 10ms;
    n.answers[v4(2)] = {5ms};
    const auto limit = std::chrono::milliseconds(sim::draw(1000));
    const bool done = move_on_after(limit, [&] { n.run(); });
    EXPECT_EQ(n.open, 0);
    EXPECT_EQ(n.lookups, 0);
    EXPECT_TRUE(limit == 765ms || done == (limit > 765ms));
  });
}

TEST(HappyEyeballs, AnExceptionThatIsNoFailureEndsItAtOnce) {
  simulate([] {
    network n;
    n.v4s = {v4(1), v4(2)};
    const auto broken = [](const endpoint&) -> int { throw std::logic_error("a mistake"); };
    EXPECT_THROW(happy_eyeballs("name", n.lookup(), broken), std::logic_error);
    EXPECT_THROW(happy_eyeballs("name", n.lookup(), broken, {.first = address_family::any}), std::invalid_argument);
  });
}

}  // namespace
}  // namespace weft::io::happy_eyeballs_test
