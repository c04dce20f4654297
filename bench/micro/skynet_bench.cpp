// The skynet tree: each task spawns ten, until there are a million leaves, and sums what they give. An operation is a
// leaf; there are 0.11 tasks above each. Tasks spawned on their own loop start in the order they were spawned, so that
// tree grows in breadth; those spawned anywhere, in depth. (After github.com/atemerev/skynet.)

#include <sys/mman.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <array>
#include <asio.hpp>
#include <asio/experimental/deferred.hpp>
#include <asio/experimental/parallel_group.hpp>
#include <boost/fiber/all.hpp>
#include <exception>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "boost_fiber.hpp"
#include "support.hpp"

namespace {

constexpr std::size_t fan = 10;

// The power of ten that `full` is scaled to.
std::size_t leaves(std::size_t full = 1'000'000) {
  std::size_t n = fan;
  while (n * fan <= bench::scaled(full)) n *= fan;
  return n;
}

template <class Tree>
void sum_leaves(benchmark::State& state, std::size_t count, Tree tree) {
  const auto right = static_cast<long>(count) * static_cast<long>(count - 1) / 2;
  bool is_right = tree(count) == right;  // the first one finds no memory that it could use again
  for (auto _ : state) is_right &= tree(count) == right;
  bench::check(state, is_right, "the sum of the leaves is wrong");
  bench::each(state, count);
  state.counters["count"] = static_cast<double>(count);
}

// --- weft: spawned on one loop, or anywhere ---

template <class... Place>
long skynet_weft(long first, std::size_t size, Place... where) {
  if (size == 1) return first;
  std::array<weft::future<long>, fan> children;
  size /= fan;
  for (auto& child : children) {
    child = weft::spawn(where..., [first, size, where...] { return skynet_weft(first, size, where...); });
    first += static_cast<long>(size);
  }
  long sum = 0;
  for (auto& child : children) sum += child.get();
  return sum;
}
void skynet_weft_one_loop(benchmark::State& state) {
  bench::on_loops(1, [&] { sum_leaves(state, leaves(), [](std::size_t n) { return skynet_weft(0, n); }); });
}
void skynet_weft_anywhere(benchmark::State& state, unsigned loops) {
  bench::on_loops(
      loops, [&] { sum_leaves(state, leaves(), [](std::size_t n) { return skynet_weft(0, n, weft::anywhere); }); });
}
WEFT_BENCH("skynet_one_loop/weft", skynet_weft_one_loop);
WEFT_BENCH("skynet_one_loop/weft/anywhere", skynet_weft_anywhere, 1U);
WEFT_BENCH("skynet_two_loops/weft", skynet_weft_anywhere, 2U);

// No rival but a floor for one loop: the memory that a tree takes which grows in breadth, and no fiber and no loop. For
// each task a record of four cache lines, in a queue, written when it is spawned, when it ends and when its result is
// taken; for each that waits for others the top of a stack, written when it starts, when it is woken and when it goes
// on.
class bare_tree {
 public:
  explicit bare_tree(std::size_t leaves) : parents_((leaves - 1) / (fan - 1)), tasks_(leaves + parents_) {
    void* const at =
        ::mmap(nullptr, parents_ * stride_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    ::madvise(at, parents_ * stride_, MADV_NOHUGEPAGE);
    low_ = static_cast<char*>(at);
  }
  ~bare_tree() { ::munmap(low_, parents_ * stride_); }
  bare_tree(const bare_tree&) = delete;
  bare_tree& operator=(const bare_tree&) = delete;

  long sum(std::size_t leaves) {
    task* const root = tasks_.data();
    task* newest = root;
    spawn(*root, 0, leaves, nullptr);
    std::size_t waiting = 0;
    for (task* t = root; t <= newest; ++t) {  // they start in the order in which they were spawned
      if (t->size == 1) {
        end(*t, t->first);
        continue;
      }
      frame& f = frame_of(waiting++);
      touch(f.lines);
      f.self = t;
      f.children = newest + 1;
      const std::size_t size = t->size / fan;
      for (std::size_t i = 0; i < fan; ++i)
        spawn(*++newest, t->first + static_cast<long>(i * size), size, i == 0 ? &f : nullptr);
    }
    // They go on in the order in which they were woken: those whose children are leaves, then their parents.
    for (std::size_t level = waiting; level > 0; level /= fan)
      for (std::size_t i = level / fan; i < level; ++i) {
        frame& f = frame_of(i);
        touch(f.lines);
        long sum = 0;
        for (task* child = f.children; child < f.children + fan; ++child) {
          touch(child->rest);
          sum += child->result;
        }
        end(*f.self, f.is_awake ? sum : -1);
      }
    return root->result;
  }

 private:
  struct frame;
  struct alignas(64) line {
    std::size_t word = 0;
  };
  struct alignas(64) task {
    long first = 0;
    std::size_t size = 0;
    frame* waiter = nullptr;
    long result = 0;
    std::array<line, 3> rest;
  };
  struct alignas(64) frame {
    task* self;
    task* children;
    bool is_awake;
    std::array<line, 15> lines;  // weft's control block, and what lies on the stack below it
  };

  template <std::size_t N>
  static void touch(std::array<line, N>& lines, std::size_t count = N) noexcept {
    for (std::size_t i = 0; i < count; ++i) ++lines[i].word;
  }
  static void spawn(task& t, long first, std::size_t size, frame* waiter) noexcept {
    t.first = first;
    t.size = size;
    t.waiter = waiter;
    touch(t.rest);
    if (waiter) waiter->is_awake = false;
  }
  static void end(task& t, long result) noexcept {
    t.result = result;
    touch(t.rest);
    if (!t.waiter) return;
    t.waiter->is_awake = true;
    touch(t.waiter->lines, 2);
  }
  frame& frame_of(std::size_t i) noexcept { return *reinterpret_cast<frame*>(low_ + i * stride_); }

  const std::size_t stride_ = weft::config().stack_size + 4096;  // with the guard page
  std::size_t parents_;
  std::vector<task> tasks_;
  char* low_;
};
void skynet_bare_memory(benchmark::State& state) {
  bare_tree tree(leaves());
  sum_leaves(state, leaves(), [&](std::size_t n) { return tree.sum(n); });
}
WEFT_BENCH("skynet_one_loop/bare_memory", skynet_bare_memory);

// --- oneTBB ---

long skynet_tbb(long first, std::size_t size) {
  if (size == 1) return first;
  std::array<long, fan> sums{};
  size /= fan;
  tbb::task_group children;
  for (long& sum : sums) {
    children.run([&sum, first, size] { sum = skynet_tbb(first, size); });
    first += static_cast<long>(size);
  }
  children.wait();
  long sum = 0;
  for (const long s : sums) sum += s;
  return sum;
}
void skynet_on_tbb(benchmark::State& state, int threads) {
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena(threads).execute(
      [&] { sum_leaves(state, leaves(), [](std::size_t n) { return skynet_tbb(0, n); }); });
}
WEFT_BENCH("skynet_one_loop/tbb", skynet_on_tbb, 1);
WEFT_BENCH("skynet_two_loops/tbb", skynet_on_tbb, 2);

// --- Boost.Fiber: a smaller tree, for each fiber has a stack from the beginning, and a million take 8 GiB ---

constexpr std::size_t boost_leaves = 100'000;

// `start(f)` gives a fiber.
template <class Start>
long skynet_boost(long first, std::size_t size, const Start& start) {
  if (size == 1) return first;
  std::array<long, fan> sums{};
  std::array<boost::fibers::fiber, fan> children;
  size /= fan;
  for (std::size_t i = 0; i < fan; ++i, first += static_cast<long>(size))
    children[i] = start([&sum = sums[i], first, size, &start] { sum = skynet_boost(first, size, start); });
  long sum = 0;
  for (std::size_t i = 0; i < fan; ++i) {
    children[i].join();
    sum += sums[i];
  }
  return sum;
}
void skynet_boost_one_loop(benchmark::State& state) {
  const bench::kept_stacks stacks;
  const auto start = [&](auto f) { return stacks.start(f); };
  sum_leaves(state, leaves(boost_leaves), [&](std::size_t n) { return skynet_boost(0, n, start); });
  boost::this_fiber::yield();  // frees them
}
WEFT_BENCH("skynet_one_loop/boost_fiber", skynet_boost_one_loop);

// Its schedulers that share work are for the life of a thread: threads of their own. Fibers end elsewhere than they
// began, so the stacks are malloc's.
void skynet_boost_two_loops(benchmark::State& state) {
  boost::fibers::mutex m;
  boost::fibers::condition_variable_any ended;
  bool end = false;
  const auto share = [] { boost::fibers::use_scheduling_algorithm<boost::fibers::algo::shared_work>(true); };
  std::thread first([&] {
    share();
    const auto start = [](auto f) { return boost::fibers::fiber(f); };
    sum_leaves(state, leaves(boost_leaves), [&](std::size_t n) { return skynet_boost(0, n, start); });
    {
      const std::lock_guard lock(m);
      end = true;
    }
    ended.notify_all();
  });
  std::thread second([&] {
    share();
    std::unique_lock lock(m);
    ended.wait(lock, [&] { return end; });
  });
  first.join();
  second.join();
}
WEFT_BENCH("skynet_two_loops/boost_fiber", skynet_boost_two_loops);

// --- Asio's coroutines ---

asio::awaitable<long> skynet_asio(long first, std::size_t size) {
  if (size == 1) co_return first;
  const auto executor = co_await asio::this_coro::executor;
  size /= fan;
  const auto child = [&](std::size_t i) {
    return asio::co_spawn(executor, skynet_asio(first + static_cast<long>(i * size), size),
                          asio::experimental::deferred);
  };
  // One operation for all ten; it gives their order and an exception_ptr and a sum for each.
  const auto results = co_await [&]<std::size_t... I>(std::index_sequence<I...>) {
    return asio::experimental::make_parallel_group(child(I)...)
        .async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
  }(std::make_index_sequence<fan>());
  co_return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return (std::get<2 + 2 * I>(results) + ...);
  }(std::make_index_sequence<fan>());
}
void skynet_on_asio(benchmark::State& state, unsigned threads) {
  sum_leaves(state, leaves(), [&](std::size_t n) {
    asio::io_context loop(static_cast<int>(threads));
    long sum = 0;
    asio::co_spawn(loop, skynet_asio(0, n), [&](const std::exception_ptr&, long s) { sum = s; });
    std::vector<std::thread> others;
    for (unsigned i = 1; i < threads; ++i) others.emplace_back([&] { loop.run(); });
    loop.run();
    for (auto& t : others) t.join();
    return sum;
  });
}
WEFT_BENCH("skynet_one_loop/asio_awaitable", skynet_on_asio, 1U);
WEFT_BENCH("skynet_two_loops/asio_awaitable", skynet_on_asio, 2U);

}  // namespace
