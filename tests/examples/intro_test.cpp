// The programs of the introduction: their logic on virtual time, where every duration is exact, and the built programs
// as a reader runs them. What they must print stands in the comment that opens each.

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <numeric>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <weft/weft.hpp>

#include "support/bar_chart.hpp"
#include "support/paradigm.hpp"
#include "support/producer_consumer.hpp"
#include "support/say_after.hpp"

// The programs themselves, so that the reader finds all of one in one file.
#define main main_of_01_lazy
#include "01_lazy.cpp"
#undef main
#define main main_of_02_tasks
#include "02_tasks.cpp"
#undef main
#define main main_of_03_await_twice
#include "03_await_twice.cpp"
#undef main
#define main main_of_04_future
#include "04_future.cpp"
#undef main
#define main main_of_05_gather
#include "05_gather.cpp"
#undef main
#define main main_of_06_producer_consumer
#include "06_producer_consumer.cpp"
#undef main

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

const fs::path examples = WEFT_EXAMPLES_SOURCE_DIR;  // __FILE__ may be relative to wherever the compiler ran

/// What the comment at the top of a program says it prints: the lines indented by four after "Expected output".
std::string expected_output(const std::string& program) {
  std::ifstream source(examples / (program + ".cpp"));
  std::string line;
  while (std::getline(source, line) && line.find("Expected output") == std::string::npos) {
  }
  const std::string indent = "//     ";
  std::string text;
  while (std::getline(source, line) && line.starts_with("//"))
    if (line.starts_with(indent)) text += line.substr(indent.size()) + "\n";
  if (text.empty()) throw std::runtime_error(program + ".cpp does not say what it prints");
  return text;
}

struct run_of_program {
  int status = 0;
  std::string output;  ///< stdout and stderr
};

/// Runs a built program with the shell.
run_of_program run_program(const std::string& program, const std::string& arguments = "",
                           const std::string& environment = "") {
  const std::string command = environment + " '" WEFT_EXAMPLES_DIR "/" + program + "' " + arguments + " 2>&1";
  run_of_program run;
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("no shell");
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) run.output.append(buffer, n);
  const int status = pclose(pipe);
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return run;
}

/// Every number as `#`, for output that holds measured times.
std::string without_numbers(const std::string& text) {
  return std::regex_replace(text, std::regex("[0-9]+([.][0-9]+)?"), "#");
}

struct simulated {
  std::string output;
  weft::clock::duration time{};
};

simulated simulate(std::uint64_t seed, void (*program)(std::ostream&)) {
  std::ostringstream out;
  simulated result;
  weft::sim::run(seed, [&] {
    const auto start = weft::clock::now();
    program(out);
    result.time = weft::clock::now() - start;
  });
  result.output = out.str();
  return result;
}

constexpr std::uint64_t seeds = 50;

void expect_on_every_seed(void (*program)(std::ostream&), const std::string& output, weft::clock::duration time) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const simulated run = simulate(seed, program);
    ASSERT_EQ(run.output, output);
    ASSERT_EQ(run.time, time);
  }
}

TEST(AsyncioIntroduction, BareCoroutinesAwaitedInTheOtherOrderSayWorldFirstAndTakeThreeSeconds) {
  expect_on_every_seed(await_bare_coroutines, expected_output("01_lazy"), 3s);
}

TEST(AsyncioIntroduction, MakingACoroutineRunsNothing) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed)
    EXPECT_EQ(simulate(seed, [](std::ostream& out) { (void)say_after(out, 1s, "hello"); }).output, "");
}

TEST(AsyncioIntroduction, TasksRunAtOnceSayHelloFirstAndTakeTwoSeconds) {
  expect_on_every_seed(await_tasks, expected_output("02_tasks"), 2s);
}

TEST(AsyncioIntroduction, ATaskAwaitedTwiceWorksOnceAndTakesThreeSeconds) {
  expect_on_every_seed(await_one_task_twice, expected_output("03_await_twice"), 3s);
}

TEST(AsyncioIntroduction, AFutureGivesItsResultOrErrorWhetherItIsAwaitedBeforeOrAfter) {
  std::string expected = expected_output("04_future");
  expected.resize(expected.find("a thread"));  // real runs only: in a simulation there is no other thread
  expect_on_every_seed(await_placeholders, expected, 2s);
}

TEST(AsyncioIntroduction, GatherGivesResultsInTheOrderOfItsArgumentsAndTheFirstError) {
  expect_on_every_seed(gather_results_in_order, expected_output("05_gather"), 3s);
}

TEST(AsyncioIntroduction, MoreProducersAndConsumersDoTheSameWorkInLessTime) {
  const std::vector<item> items = draw_items(60, 1);
  weft::clock::duration arrivals{}, departures{}, first_producer{}, second_producer{};
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    arrivals += items[i].arrival;
    departures += items[i].departure;
    (i % 2 == 0 ? first_producer : second_producer) += items[i].arrival;
    sum += digit_squares(items[i].number);
  }
  weft::sim::run_seeds(1, seeds, [&] {
    std::ostringstream out;
    const auto runs = compare_set_ups(out, items);
    ASSERT_EQ(runs.size(), 3U);
    for (const measurement& run : runs) EXPECT_EQ(run.sum, sum) << run.set_up;

    EXPECT_EQ(runs[0].time, arrivals + departures) << "nothing overlaps";
    EXPECT_GE(runs[1].time, departures) << "one consumer sends all results on";
    EXPECT_LT(runs[1].time, departures + departures / 10) << "and waits for little else";
    const auto slower_producer = std::max(first_producer, second_producer);
    EXPECT_GE(runs[2].time, slower_producer) << "a producer waits for all of its numbers";
    EXPECT_LT(runs[2].time, slower_producer + slower_producer / 10) << "and for little else";
    EXPECT_LT(runs[2].time, runs[1].time);
    EXPECT_LT(runs[1].time, runs[0].time);
  });
}

TEST(AsyncioIntroduction, TheSameSeedDrawsTheSameNumbersAndAnotherSeedOthers) {
  const auto numbers = [](std::uint64_t seed) {
    std::vector<std::uint64_t> drawn;
    for (const item& i : draw_items(20, seed)) drawn.push_back(i.number);
    return drawn;
  };
  EXPECT_EQ(numbers(7), numbers(7));
  EXPECT_NE(numbers(7), numbers(8));
}

TEST(SmallQueue, GivesValuesInOrderAndNothingOnceClosedAndEmpty) {
  weft::sim::run_seeds(1, seeds, [] {
    small_queue<int> queue(2);
    auto taken = weft::spawn([&] {
      std::vector<int> values;
      while (const auto value = queue.take()) values.push_back(*value);
      return values;
    });
    for (int i = 0; i < 10; ++i) queue.put(i);
    queue.close();
    EXPECT_EQ(std::move(taken).get(), (std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    EXPECT_EQ(queue.take(), std::nullopt);
  });
}

TEST(SmallQueue, MakesThePutterWaitWhileItIsFull) {
  weft::sim::run_seeds(1, seeds, [] {
    small_queue<int> queue(1);
    auto slow = weft::spawn([&] {
      weft::sleep_for(5s);
      return queue.take();
    });
    const auto start = weft::clock::now();
    queue.put(1);
    EXPECT_EQ(weft::clock::now() - start, 0s);
    queue.put(2);
    EXPECT_EQ(weft::clock::now() - start, 5s);
    EXPECT_EQ(slow.get(), 1);
  });
}

TEST(SmallQueue, ACancelledWaiterSwallowsNoWakeUp) {
  weft::sim::run_seeds(1, seeds, [] {
    small_queue<int> queue(1);
    auto impatient = weft::spawn([&] { return weft::move_on_after(1s, [&] { return queue.take(); }); });
    weft::sleep_for(500ms);
    auto patient = weft::spawn([&] { return queue.take(); });
    weft::sleep_for(1s);
    queue.put(7);
    EXPECT_EQ(patient.get(), 7);
    EXPECT_FALSE(impatient.get().has_value());
  });
}

// The built programs, in real time.

class Program : public testing::TestWithParam<const char*> {};

TEST_P(Program, PrintsWhatItsOpeningCommentSays) {
  const run_of_program run = run_program(GetParam());
  EXPECT_EQ(run.output, expected_output(GetParam()));
  EXPECT_EQ(run.status, 0);
}

TEST_P(Program, PrintsWhatTheReadmeShows) {
  std::stringstream readme;
  readme << std::ifstream(examples / "README.md").rdbuf();
  EXPECT_NE(readme.str().find("\n```\n" + expected_output(GetParam()) + "```\n"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(AsyncioIntroduction, Program,
                         testing::Values("01_lazy", "02_tasks", "03_await_twice", "04_future", "05_gather"),
                         [](const auto& program) { return std::string(program.param + 3); });

TEST(AsyncioIntroduction, TheProducerConsumerProgramPrintsItsTimesAndDrawsThem) {
  if (std::system("command -v gnuplot >/dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const fs::path picture = fs::temp_directory_path() / ("weft 'picture' " + std::to_string(getpid()) + ".svg");
  const run_of_program run = run_program("06_producer_consumer", "60 1 \"" + picture.string() + "\"");
  std::string expected = expected_output("06_producer_consumer");
  expected.replace(expected.find("06_producer_consumer.svg"), 24, picture.string());
  EXPECT_EQ(without_numbers(run.output), without_numbers(expected));
  EXPECT_EQ(run.status, 0);

  std::stringstream drawn;
  drawn << std::ifstream(picture).rdbuf();
  EXPECT_NE(drawn.str().find("<svg"), std::string::npos);
  for (const char* label : {"one after the other", "two producers, one consumer", "two producers, three consumers"})
    EXPECT_NE(drawn.str().find(label), std::string::npos) << label;
  fs::remove(picture);
}

TEST(AsyncioIntroduction, TheProducerConsumerProgramSaysSoWhenThereIsNoGnuplot) {
  const run_of_program run = run_program("06_producer_consumer", "2 1 never.svg", "PATH=/nonexistent");
  EXPECT_NE(run.output.find("gnuplot is not installed"), std::string::npos) << run.output;
  EXPECT_EQ(run.status, 1);
}

TEST(AsyncioIntroduction, TheProducerConsumerProgramRefusesWhatIsNoNumber) {
  const run_of_program run = run_program("06_producer_consumer", "many");
  EXPECT_NE(run.output.find("not a number: many"), std::string::npos) << run.output;
  EXPECT_EQ(run.status, 1);
}

// The advice itself is drawn from measured times, and a busy machine may give another.
TEST(AsyncioIntroduction, TheChoosingProgramTimesThreeJobsInThreeWaysAndAdvises) {
  const run_of_program run = run_program("07_choose");
  EXPECT_EQ(run.status, 0);
  const std::string row = R"( +\d+\.\d{3} s +\d+ +\d+ ms\n)";
  const std::string three_rows = ", \\d+ \\w+ +spawn" + row + " +spawn_blocking" + row + " +spawn_cpu" + row;
  const std::string advice = R"(, \d+ \w+: spawn(_\w+)?\n(  spawn(_\w+)? takes \d+\.\d times as long.*\n){2}\n?)";
  const std::string jobs[] = {"slow answers", "fast answers", "primes"};
  std::string pattern = "job +way +time +threads +loop held up\n";
  for (const std::string& job : jobs) pattern += job + three_rows;
  pattern += "\nWhat to choose, by these figures:(.*\n){3}\n";
  for (const std::string& job : jobs) pattern += job + advice;
  EXPECT_TRUE(std::regex_match(run.output, std::regex(pattern))) << run.output;
}

trial as_measured(const char* way, double seconds, std::size_t threads, double held_up_ms) {
  return {way, std::chrono::duration<double>(seconds), threads, std::chrono::duration<double, std::milli>(held_up_ms)};
}

TEST(AsyncioIntroduction, AdviceIsTheFastestUnlessAnotherIsAboutAsFastAndHoldsUpNobody) {
  const std::vector<trial> waiting = {as_measured("spawn", 0.1, 1, 30), as_measured("spawn_blocking", 0.2, 64, 2),
                                      as_measured("spawn_cpu", 5, 2, 4)};
  EXPECT_EQ(choose(waiting).way, "spawn");
  EXPECT_EQ(advise(waiting),
            "spawn\n"
            "  spawn_blocking takes 2.0 times as long, on 64 threads instead of 1\n"
            "  spawn_cpu takes 50.0 times as long, on 2 threads instead of 1\n");

  const std::vector<trial> computing = {as_measured("spawn", 1, 1, 1000), as_measured("spawn_blocking", 0.9, 64, 150),
                                        as_measured("spawn_cpu", 1.2, 2, 5)};
  EXPECT_EQ(choose(computing).way, "spawn_cpu");
  EXPECT_EQ(advise(computing),
            "spawn_cpu\n"
            "  spawn takes 0.8 times as long, and holds up its loop for 1000 ms\n"
            "  spawn_blocking takes 0.8 times as long, on 64 threads instead of 2, and holds up its loop for 150 ms\n");
}

}  // namespace
