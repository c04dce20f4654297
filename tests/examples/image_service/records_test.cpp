// One suite for both databases. PostgreSQL's tests want a server: with_postgres.py starts one and runs this program.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include <weft/gather.hpp>
#include <weft/runtime.hpp>
#include <weft/this_fiber.hpp>

#include "postgres.hpp"
#include "records.hpp"

namespace records_test {

using namespace images;

const char* postgres_url() { return std::getenv("WEFT_POSTGRES_URL"); }

/// A database of a test's own, on loops and threads.
struct sqlite {
  const std::string folder = [] {
    std::string name = "/tmp/weft_records_XXXXXX";
    if (!mkdtemp(name.data())) std::abort();
    return name;
  }();
  ~sqlite() { std::filesystem::remove_all(folder); }
  [[nodiscard]] auto open() const { return open_sqlite(folder + "/pictures.db"); }
  static bool absent() { return false; }
};

struct postgresql {
  static auto open() { return open_postgres(postgres_url(), 3); }
  static bool absent() { return postgres_url() == nullptr; }
  ~postgresql() {
    if (!absent())
      weft::run([] {
        postgres::pool(postgres_url(), 1, "").with([](postgres::connection& c) {
          return c.query("drop table picture", {});
        });
      });
  }
};

record some(int i) {
  return {.id = "id" + std::to_string(1000 + i),
          .added_ms = 1'000'000'000'000 + i / 2,  // two each of one time
          .name = "it's \"n\xC3\xAFne\" \\ ;--",
          .format = "jpg",
          .width = 4000,
          .height = 4'000'000'000u,
          .bytes = 5'000'000'000,
          .versions = R"([{"name":"thumb"}])"};
}

template <class Database>
class Records : public testing::Test {
 protected:
  void SetUp() override {
    if (Database::absent()) GTEST_SKIP() << "no PostgreSQL: run it by with_postgres.py";
  }
  Database database_;
};
using databases = testing::Types<sqlite, postgresql>;
TYPED_TEST_SUITE(Records, databases);

TYPED_TEST(Records, WhatWasAddedIsFound) {
  weft::run([&] {
    auto all = this->database_.open();
    EXPECT_EQ(all->find("id1001"), std::nullopt);
    EXPECT_TRUE(all->add(some(1)));
    EXPECT_EQ(all->find("id1001"), some(1));
    EXPECT_EQ(all->find("' or 1 = 1 --"), std::nullopt);
  });
}

TYPED_TEST(Records, TheFirstOfEqualsStays) {
  weft::run([&] {
    auto all = this->database_.open();
    EXPECT_TRUE(all->add(some(1)));
    record other = some(1);
    other.name = "another";
    EXPECT_FALSE(all->add(other));
    EXPECT_EQ(all->find("id1001"), some(1));
  });
}

TYPED_TEST(Records, AListGoesOnWhereItEnded) {
  weft::run([&] {
    auto all = this->database_.open();
    for (const int i : {3, 1, 4, 0, 2}) all->add(some(i));
    std::vector<record> got;
    std::optional<position> after;
    for (;;) {
      const auto page = all->list(after, 2);
      if (page.empty()) break;
      EXPECT_LE(page.size(), 2u);
      got.insert(got.end(), page.begin(), page.end());
      after = {got.back().added_ms, got.back().id};
    }
    EXPECT_EQ(got, (std::vector{some(4), some(3), some(2), some(1), some(0)}));
  });
}

TYPED_TEST(Records, ManyAtOnceOnAllLoops) {
  weft::run([&] {
    auto all = this->database_.open();
    std::vector<weft::future<bool>> adding;
    for (int i = 0; i < 40; ++i)
      adding.push_back(weft::spawn(weft::anywhere, [&, i] { return all->add(some(i / 2)); }));
    const auto added = weft::gather(std::move(adding)).get();
    EXPECT_EQ(std::count(added.begin(), added.end(), true), 20);
    EXPECT_EQ(all->list({}, 100).size(), 20u);
  });
}

TYPED_TEST(Records, ACancelledCallLeavesThemUsable) {
  weft::run([&] {
    auto all = this->database_.open();
    all->add(some(0));
    for (int i = 1; i < 20; ++i) {
      auto adding = weft::spawn([&, i] { return all->add(some(i)); });
      for (int j = 0; j < i; ++j) weft::yield();
      adding.cancel();
      adding.wait();
    }
    EXPECT_EQ(all->find("id1000"), some(0));
  });
}

TYPED_TEST(Records, TheyAreThereTheNextTime) {
  weft::run([&] { this->database_.open()->add(some(1)); });
  weft::run([&] { EXPECT_EQ(this->database_.open()->find("id1001"), some(1)); });
}

TEST(Postgres, NoServerIsUnavailable) {
  weft::run([] {
    auto all = open_postgres("postgresql://127.0.0.1:1/none");
    EXPECT_THROW(all->find("x"), records_unavailable);
    EXPECT_THROW(all->find("x"), records_unavailable);
  });
}

TEST(Postgres, WhatIsNoUrlIsToldAtOnce) {
  weft::run([] {
    for (const char* wrong : {"nonsense", "postgresql://a/b?c=d"})
      EXPECT_THROW((void)open_postgres(wrong), std::invalid_argument) << wrong;
  });
}

TEST(Postgres, ACallThatHangsIsGivenUpAndTheNextIsNot) {
  if (!postgres_url()) GTEST_SKIP() << "no PostgreSQL: run it by with_postgres.py";
  weft::run([] {
    auto all = open_postgres(postgres_url(), 1, std::chrono::milliseconds(500));
    (void)all->find("x");
    postgres::connection holder(postgres_url());
    holder.query("begin", {});
    holder.query("lock table picture in access exclusive mode", {});
    EXPECT_THROW(all->find("x"), records_unavailable);
    EXPECT_THROW(all->find("x"), records_unavailable);
    holder.query("rollback", {});
    EXPECT_EQ(all->find("x"), std::nullopt);
  });
}

TEST(Postgres, AnErrorLeavesTheConnectionUsable) {
  if (!postgres_url()) GTEST_SKIP() << "no PostgreSQL: run it by with_postgres.py";
  weft::run([] {
    postgres::connection c(postgres_url());
    try {
      c.query("select 1 / $1::int", {"0"});
      ADD_FAILURE();
    } catch (const postgres::query_failed& e) {
      EXPECT_EQ(e.state(), "22012");
    }
    EXPECT_TRUE(c.usable());
    EXPECT_EQ(c.query("select $1::text", {"x"}), (postgres::rows{{"x"}}));
  });
}

TEST(Postgres, ABackendThatWasKilledIsReplaced) {
  if (!postgres_url()) GTEST_SKIP() << "no PostgreSQL: run it by with_postgres.py";
  weft::run([] {
    postgres::pool pool(postgres_url(), 1, "");
    const auto who = [](postgres::connection& c) { return c.query("select pg_backend_pid()", {}); };
    const auto first = pool.with(who);
    EXPECT_EQ(pool.with(who), first);
    postgres::connection(postgres_url()).query("select pg_terminate_backend($1::int, 5000)", {first[0][0]});
    EXPECT_NE(pool.with(who), first);
  });
}

TEST(Postgres, TheFiberWaitsNotTheLoop) {
  if (!postgres_url()) GTEST_SKIP() << "no PostgreSQL: run it by with_postgres.py";
  weft::run(
      [] {
        postgres::pool pool(postgres_url(), 2, "");
        // One of the two waits for a lock that the other holds: on one loop they end only if neither holds it up.
        auto holder = weft::spawn([&] {
          pool.with([](postgres::connection& c) {
            c.query("select pg_advisory_lock(1)", {});
            weft::sleep_for(std::chrono::milliseconds(20));
            return c.query("select pg_advisory_unlock(1)", {});
          });
        });
        auto waiter = weft::spawn([&] {
          pool.with([](postgres::connection& c) {
            c.query("select pg_advisory_lock(1)", {});
            return c.query("select pg_advisory_unlock(1)", {});
          });
        });
        weft::gather(std::move(holder), std::move(waiter)).get();
      },
      {.loops = 1});
}

}  // namespace records_test
