// The contract of streams finds what is planted.

#include "weft/io/testing/streams.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "io_test.hpp"
#include "stream_access.hpp"
#include "weft/io/memory.hpp"

namespace weft::io::stream_contract_test {
namespace {

using namespace std::chrono_literals;
using testing::contract_broken;
using testing::stream_kind;

enum class flaw : std::uint8_t {
  none,
  drops_a_byte,
  doubles_a_byte,
  reverses_pieces,
  forgets_later_pieces,
  counts_too_much,
  waits_after_a_read,
  waits_after_a_write,
  never_times_a_read,
  never_times_a_write,
  ends_once,
  ends_with_an_error,
  ends_both_halves,
  ends_neither_half,
  swallows_after_the_end,
  close_is_an_end,
  close_wakes_nobody,
  close_comes_late,
  keeps_the_last_write,
  loses_what_does_not_fit,
  resets_where_something_is_unread,
  a_reset_is_an_end,
  a_reset_is_silent_to_writers,
  has_another_code,
  stays_on_its_loop,
  has_no_name,
};

// One direction, as both ends know it.
struct way {
  std::size_t written = 0;
  std::size_t read = 0;
  bool broken = false;
};

// A memory stream with a flaw.
class flawed final : public transport {
 public:
  flawed(flaw f, stream inner, std::shared_ptr<way> in, std::shared_ptr<way> out) noexcept
      : flaw_(f), inner_(detail::stream_access::release(inner)), in_(std::move(in)), out_(std::move(out)) {}

  void break_off() noexcept {
    in_->broken = out_->broken = true;
    inner_->close();
  }

  std::size_t read_some(std::span<std::byte> to, wait_limit limit) override {
    stay();
    if (has(flaw::never_times_a_read)) limit = no_timeout;
    if (ended_ && has(flaw::ends_once)) sleep_for(1000h);
    std::size_t n = 0;
    try {
      n = inner_->read_some(to, limit);
    } catch (const stream_closed&) {
      if (!has(flaw::close_is_an_end)) throw;
    }
    if (n == 0 && in_->broken && !has(flaw::a_reset_is_an_end)) fail(ECONNRESET, "read from");
    if (n == 0) {
      ended_ = true;
      if (has(flaw::ends_with_an_error)) fail(EIO, "read from");
    }
    if (has(flaw::waits_after_a_read)) sleep_for(1us);
    count_ += n;
    in_->read += n;
    if (count_ > 700 && n > 1 && has(flaw::drops_a_byte)) return n - 1;
    if (count_ > 700 && n < to.size() && has(flaw::doubles_a_byte)) {
      to[n] = to[n - 1];
      return n + 1;
    }
    return n;
  }

  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) override {
    stay();
    if (has(flaw::never_times_a_write)) limit = no_timeout;
    if (out_->broken) {
      if (has(flaw::a_reset_is_silent_to_writers)) {
        sleep_for(1ms);
        return from.front().size();
      }
      fail(ECONNRESET, "write to");
    }
    if (shut_ && has(flaw::swallows_after_the_end)) return from.front().size();
    if (from.size() > 1 && has(flaw::reverses_pieces)) from = from.last(1);
    std::size_t n = 0;
    if (has(flaw::keeps_the_last_write) && from.front().size() == 1) {
      kept_.push_back(from.front().front());
      return 1;
    }
    write_late(limit);
    if (has(flaw::loses_what_does_not_fit) && !shut_) {
      const auto taken = from.front().first(std::min<std::size_t>(from.front().size(), 100));
      const auto rest = taken.subspan(inner_->try_write(taken));
      late_.assign(rest.begin(), rest.end());
      return taken.size();
    }
    try {
      n = inner_->write_some(from, limit);
    } catch (const error& e) {
      if (has(flaw::has_another_code)) fail(EIO, "write to");
      throw;
    }
    out_->written += n;
    if (has(flaw::forgets_later_pieces) && n == from.front().size()) {
      n = 0;
      for (const auto& piece : from) n += piece.size();
    }
    if (has(flaw::waits_after_a_write)) sleep_for(1us);
    if (has(flaw::counts_too_much) && n < from.front().size()) ++n;
    return n;
  }

  void shutdown_write(wait_limit limit) override {
    shut_ = true;
    write_late(no_timeout);
    if (has(flaw::ends_both_halves)) inner_->close();
    if (!has(flaw::ends_neither_half)) inner_->shutdown_write(limit);
  }
  void close() noexcept override {
    if (has(flaw::close_wakes_nobody)) return;
    if (has(flaw::resets_where_something_is_unread) && in_->written > in_->read) out_->broken = true;
    (void)inner_->try_write(late_);
    if (has(flaw::close_comes_late)) {
      inner_->shutdown_write(no_timeout);
      return;
    }
    inner_->close();
  }
  void leave_loop() override {
    if (!has(flaw::stays_on_its_loop)) loop_ = -1;
    inner_->leave_loop();
  }
  [[nodiscard]] std::string describe() const override { return has(flaw::has_no_name) ? "" : inner_->describe(); }

 private:
  [[nodiscard]] bool has(flaw f) const noexcept { return flaw_ == f; }
  [[noreturn]] static void fail(int code, const char* operation) {
    throw error(std::error_code(code, std::system_category()), operation, "memory");
  }
  void write_late(wait_limit limit) {
    while (!late_.empty()) {
      const std::span<const std::byte> rest = late_;
      late_.erase(late_.begin(), late_.begin() + static_cast<std::ptrdiff_t>(inner_->write_some({&rest, 1}, limit)));
    }
  }
  // What forgets to leave a loop is found to be registered there.
  void stay() {
    const int here = static_cast<int>(this_loop());
    if (loop_ < 0) loop_ = here;
    if (loop_ != here) fail(EINVAL, "watch");
  }

  const flaw flaw_;
  const std::unique_ptr<transport> inner_;
  const std::shared_ptr<way> in_;
  const std::shared_ptr<way> out_;
  std::vector<std::byte> kept_;
  std::vector<std::byte> late_;
  std::size_t count_ = 0;
  int loop_ = -1;
  bool ended_ = false;
  bool shut_ = false;
};

stream_kind kind_with(flaw f) {
  return {.name = "a flawed stream",
          .pair =
              [f] {
                auto [one, other] = memory_pair(2000);
                auto there = std::make_shared<way>();
                auto back = std::make_shared<way>();
                return std::pair(stream(std::make_unique<flawed>(f, std::move(one), back, there)),
                                 stream(std::make_unique<flawed>(f, std::move(other), there, back)));
              },
          .break_off = [](stream& s) { static_cast<flawed*>(detail::stream_access::carrier(s))->break_off(); },
          .simulated = true,
          .real = false};
}

/// The rule that a kind of stream breaks, and how.
std::string broken_rule(const stream_kind& kind, std::uint64_t seeds = 3) {
  try {
    testing::check_stream(kind, {.seeds = seeds});
  } catch (const contract_broken& e) {
    return e.what();
  }
  return "none";
}

TEST(StreamContract, IsKeptByOneWithoutAFlaw) {
  EXPECT_EQ(broken_rule(kind_with(flaw::none), testing::seeds() / 10), "none");
}

TEST(StreamContract, FindsEveryPlantedFlawWithinThreeSeeds) {
  const std::vector<std::pair<flaw, std::string>> planted = {
      {flaw::drops_a_byte, "carries_bytes_both_ways_at_once"},
      {flaw::doubles_a_byte, "carries_bytes_both_ways_at_once"},
      {flaw::reverses_pieces, "gathers_pieces_in_order"},
      {flaw::forgets_later_pieces, "gathers_pieces_in_order"},
      {flaw::counts_too_much, "carries_bytes_both_ways_at_once"},
      {flaw::waits_after_a_read, "cancelled at each place"},
      {flaw::waits_after_a_write, "cancelled at each place"},
      {flaw::never_times_a_read, "reads_have_a_deadline"},
      {flaw::never_times_a_write, "writes_have_a_deadline"},
      {flaw::ends_once, "gives_lines_over_any_split"},
      {flaw::ends_with_an_error, "carries_bytes_both_ways_at_once"},
      {flaw::ends_both_halves, "carries_bytes_both_ways_at_once"},
      {flaw::ends_neither_half, "carries_bytes_both_ways_at_once"},
      {flaw::swallows_after_the_end, "ends_each_half_by_itself"},
      {flaw::close_is_an_end, "close_ends_the_waits_of_others"},
      {flaw::close_wakes_nobody, "delivers_what_was_written_before_close"},
      {flaw::close_comes_late, "close_ends_the_waits_of_others"},
      {flaw::keeps_the_last_write, ""},
      {flaw::loses_what_does_not_fit, "delivers_out_of_a_full_way"},
      {flaw::resets_where_something_is_unread, "delivers_though_not_all_that_came_was_read"},
      {flaw::a_reset_is_an_end, "ends_in_three_different_ways"},
      {flaw::a_reset_is_silent_to_writers, "ends_in_three_different_ways"},
      {flaw::has_another_code, "writing_to_one_who_is_gone_is_an_error"},
      {flaw::stays_on_its_loop, "moves_between_loops"},
      {flaw::has_no_name, "does_nothing_with_nothing"},
  };
  for (const auto& [what, rule] : planted) {
    const std::string found = broken_rule(kind_with(what));
    EXPECT_NE(found, "none") << "flaw " << static_cast<int>(what);
    EXPECT_NE(found.find(rule), std::string::npos) << "flaw " << static_cast<int>(what) << " is found as " << found;
    EXPECT_NE(found.find("seed "), std::string::npos) << found;
  }
}

TEST(StreamContract, FindsAWriterThatNobodyHoldsBack) {
  const std::string found = broken_rule(
      {.pair = [] { return memory_pair(500'000); }, .simulated = true, .real = false, .most_under_way = 200'000});
  EXPECT_NE(found.find("holds_its_writer_back"), std::string::npos) << found;
}

TEST(StreamContract, FindsOneThatClaimsToBeADescriptor) {
  const std::string found =
      broken_rule({.pair = [] { return memory_pair(500); }, .simulated = true, .real = false, .descriptor = true});
  EXPECT_NE(found.find("is_detached_with_what_was_buffered"), std::string::npos) << found;
}

TEST(StreamContract, RunsOnRealLoopsToo) {
  stream_kind kind = kind_with(flaw::has_no_name);
  kind.simulated = false;
  kind.real = true;
  const std::string found = broken_rule(kind);
  EXPECT_NE(found.find("does_nothing_with_nothing, on 1 loop"), std::string::npos) << found;
}

TEST(StreamContract, CancelledEverywhereFindsWhatIsTakenBeforeAWait) {
  EXPECT_GT(testing::check_stream_cancellation(kind_with(flaw::none)), 50U);
  EXPECT_THROW(testing::check_stream_cancellation(kind_with(flaw::waits_after_a_read)), std::runtime_error);
  EXPECT_THROW(testing::check_stream_cancellation(kind_with(flaw::waits_after_a_write)), std::runtime_error);
}

TEST(StreamContract, RefusesToCheckNothing) {
  EXPECT_THROW(testing::check_stream({.pair = [] { return memory_pair(); }, .real = false}), std::invalid_argument);
}

}  // namespace
}  // namespace weft::io::stream_contract_test
