// What Python promises of ExceptionGroup and except*, and what weft makes of it.
//
// Where weft differs on purpose:
//   - It is no template and carries no message of its own: what() counts the errors and quotes the first.
//   - split() takes nested groups apart; Python keeps their nesting. There is no derive().
//   - except* is split() and rethrow(): what is not handled goes on, alone if it is one.

#include <stdexcept>
#include <string>
#include <vector>

#include "weft_test.hpp"

namespace weft::testing::exception_group_test {
namespace {

exception_group some() {
  return exception_group({std::make_exception_ptr(std::invalid_argument("value")),
                          std::make_exception_ptr(std::runtime_error("os")),
                          std::make_exception_ptr(std::invalid_argument("type"))});
}

TEST(AsyncioExceptionGroup, HoldsItsErrorsInOrderAndQuotesThem) {
  const auto g = some();
  EXPECT_EQ(g.exceptions().size(), 3U);
  EXPECT_THROW(std::rethrow_exception(g.exceptions()[1]), std::runtime_error);
  EXPECT_STREQ(g.what(), "3 errors: value; os; type");
  const exception_group more(std::vector<std::exception_ptr>(5, std::make_exception_ptr(1)));
  EXPECT_EQ(std::string(more.what()).substr(0, 9), "5 errors:");
  EXPECT_NE(std::string(more.what()).find("; ..."), std::string::npos);
}

TEST(AsyncioExceptionGroup, IsAnErrorLikeAnyOther) {
  EXPECT_THROW(throw some(), std::exception);
  EXPECT_THROW(exception_group::rethrow({std::make_exception_ptr(some()), std::make_exception_ptr(1)}),
               exception_group);
}

TEST(AsyncioExceptionGroup, SplitsByTypeThroughNestedGroups) {
  const exception_group nested({std::make_exception_ptr(some()), std::make_exception_ptr(std::runtime_error("outer"))});
  const auto [match, rest] = nested.split<std::invalid_argument>();
  EXPECT_EQ(match.size(), 2U);
  EXPECT_EQ(rest.size(), 2U);
  EXPECT_EQ(nested.split<std::exception>().second.size(), 0U);
}

TEST(AsyncioExceptionGroup, GoesOnWithWhatWasNotHandled) {
  int handled = 0;
  const auto except_star = [&](const exception_group& g) {
    auto [mine, others] = g.split<std::invalid_argument>();
    handled += static_cast<int>(mine.size());
    exception_group::rethrow(std::move(others));
  };
  EXPECT_THROW(except_star(some()), std::runtime_error) << "one that is left comes alone";
  EXPECT_EQ(handled, 2);
  EXPECT_NO_THROW(except_star(exception_group({some().exceptions()[0], some().exceptions()[2]})));
}

}  // namespace
}  // namespace weft::testing::exception_group_test
