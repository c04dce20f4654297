#include "stack_pool.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <vector>

#include "sanitizer.hpp"
#include "weft/error.hpp"

namespace weft::detail::stack_pool_test {
namespace {

std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t n = 0;
  for (std::string line; std::getline(maps, line);) ++n;
  return n;
}

bool resident(const void* page) {
  unsigned char r = 0;
  return ::mincore(const_cast<void*>(page), page_size(), &r) == 0 && (r & 1);
}

stack carve(stack_pool& pool) {
  return pool.carve([](const stack&) {});
}

class StackPool : public ::testing::TestWithParam<stack_guard> {};

TEST_P(StackPool, GivesWholePagesThatCanBeWrittenToTheLastByte) {
  stack_pool pool(100'000, 256, 10, GetParam());
  const stack s = carve(pool);
  EXPECT_EQ(pool.size() % page_size(), 0U);
  EXPECT_GE(static_cast<std::size_t>(s.top - s.low) + 256, 100'000U);
  std::memset(s.low, 0xab, static_cast<std::size_t>(s.top - s.low));
}

TEST_P(StackPool, FaultsBelowTheLowestByte) {
  stack_pool pool(64 * 1024, 256, 10, GetParam());
  const stack s = carve(pool);
  EXPECT_DEATH(*(s.low - 1) = std::byte{1}, "");
}

TEST_P(StackPool, KnowsWhoseGuardPageAnAddressIsIn) {
  stack_pool pool(64 * 1024, 256, 10, GetParam());
  carve(pool);
  const stack second = carve(pool);
  std::size_t size = 0;
  EXPECT_EQ(stack_pool::owner_of_guard(second.low - 1, size), second.top);
  EXPECT_EQ(size, 64U * 1024);
  EXPECT_EQ(stack_pool::owner_of_guard(second.low, size), nullptr);
  EXPECT_EQ(stack_pool::owner_of_guard(&size, size), nullptr);
}

TEST_P(StackPool, SaysWhichCapWasHit) {
  stack_pool pool(64 * 1024, 256, 3, GetParam());
  for (int i = 0; i < 3; ++i) carve(pool);
  try {
    carve(pool);
    FAIL() << "no cap";
  } catch (const out_of_stacks& e) {
    EXPECT_NE(std::string(e.what()).find("config.max_stacks"), std::string::npos) << e.what();
  }
}

TEST_P(StackPool, GivesBackThePagesOfAStackThatRanDeep) {
#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
  GTEST_SKIP() << "shadow memory has its own residency";
#endif
  stack_pool pool(256 * 1024, 256, 10, GetParam());
  const stack s = carve(pool);
  std::memset(s.low, 1, static_cast<std::size_t>(s.top - s.low));
  ASSERT_TRUE(resident(s.low));
  const std::byte* keep = s.top - 100;
  EXPECT_TRUE(stack_pool::trim(s, keep));
  EXPECT_FALSE(resident(s.low));
  EXPECT_FALSE(stack_pool::trim(s, keep)) << "there is nothing left to give back";
  EXPECT_EQ(*keep, std::byte{1}) << "what is in use stays";
}

TEST_P(StackPool, ShowsEveryStackItCarved) {
  stack_pool pool(64 * 1024, 256, 100, GetParam());
  std::vector<void*> carved;
  for (int i = 0; i < 50; ++i) carved.push_back(carve(pool).top);
  std::size_t seen = 0;
  pool.for_each([&](void* control) {
    EXPECT_NE(std::find(carved.begin(), carved.end(), control), carved.end());
    ++seen;
  });
  EXPECT_EQ(seen, carved.size());
}

INSTANTIATE_TEST_SUITE_P(Guards, StackPool,
                         ::testing::Values(stack_guard::automatic, stack_guard::install, stack_guard::protect),
                         [](const auto& each) {
                           return each.param == stack_guard::automatic ? "Automatic"
                                  : each.param == stack_guard::install ? "Install"
                                                                       : "Protect";
                         });

TEST(StackPoolGuard, TakesNoMappingPerStackWhereTheKernelCan) {
  stack_pool pool(64 * 1024, 256, 2000);
  carve(pool);
  if (pool.guard() != stack_guard::install) GTEST_SKIP() << "this kernel has no guard regions (Linux 6.13)";
  const auto before = mappings();
  for (int i = 0; i < 1500; ++i) carve(pool);
  EXPECT_LT(mappings(), before + 20);
}

}  // namespace
}  // namespace weft::detail::stack_pool_test
