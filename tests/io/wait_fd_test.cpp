#include "weft/io/wait_fd.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "io_test.hpp"

namespace weft::io::wait_fd_test {
namespace {

using namespace std::chrono_literals;

class WaitFd : public testing::WithSockets {};
WEFT_ON_LOOPS(WaitFd);

/// Closes what it holds.
struct owned {
  int fd;
  explicit owned(int f) : fd(f) { EXPECT_GE(fd, 0); }
  owned(owned&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  owned& operator=(owned&&) = delete;
  ~owned() { close(); }
  void close() {
    if (fd >= 0) ::close(std::exchange(fd, -1));
  }
};

std::pair<owned, owned> make_pipe() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  return {owned(ends[0]), owned(ends[1])};
}
std::pair<owned, owned> make_sockets() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  return {owned(ends[0]), owned(ends[1])};
}
owned make_event() { return owned(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

void put(int fd, std::string_view text = "x") {
  EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}
void signal(int event) { put(event, std::string_view("\1\0\0\0\0\0\0\0", 8)); }
std::string take(int fd) {
  std::array<char, 64> some;
  const ssize_t n = ::read(fd, some.data(), some.size());
  return n < 0 ? "?" : std::string(some.data(), static_cast<std::size_t>(n));
}
void fill(int fd) {
  const std::vector<char> much(64 * 1024);
  while (::write(fd, much.data(), much.size()) > 0) {
  }
  EXPECT_EQ(errno, EAGAIN);
}
void drain(int fd) {
  std::vector<char> much(64 * 1024);
  while (::read(fd, much.data(), much.size()) > 0) {
  }
}

TEST_P(WaitFd, APipeIsReadableOnceSomethingIsInIt) {
  run([] {
    auto [out, in] = make_pipe();
    auto reader = spawn([fd = out.fd] {
      wait_readable(fd);
      return take(fd);
    });
    yield();
    EXPECT_FALSE(reader.ready());
    put(in.fd, "hello");
    EXPECT_EQ(reader.get(), "hello");
    EXPECT_FALSE(wait_readable_for(out.fd, 1ms));
  });
}

TEST_P(WaitFd, ItIsForWhatIsSoNotForWhatChanges) {
  run([] {
    auto [out, in] = make_pipe();
    put(in.fd, "abc");
    char c;
    for (const char expected : {'a', 'b', 'c'}) {  // nobody reads it empty, and no more comes
      wait_readable(out.fd);
      EXPECT_EQ(::read(out.fd, &c, 1), 1);
      EXPECT_EQ(c, expected);
    }
    wait_writable(in.fd);
    wait_writable(in.fd);
  });
}

TEST_P(WaitFd, AFullPipeIsWritableOnceItWasRead) {
  run([] {
    auto [out, in] = make_pipe();
    fill(in.fd);
    auto writer = spawn([fd = in.fd] { wait_writable(fd); });
    yield();
    EXPECT_FALSE(writer.ready());
    drain(out.fd);
    writer.get();
  });
}

TEST_P(WaitFd, TheEndIsReadable) {
  run([] {
    auto [out, in] = make_pipe();
    auto reader = spawn([fd = out.fd] { wait_readable(fd); });
    yield();
    in.close();
    reader.get();
    EXPECT_EQ(take(out.fd), "");

    auto [here, there] = make_sockets();
    auto other = spawn([fd = here.fd] { wait_readable(fd); });
    yield();
    EXPECT_EQ(::shutdown(there.fd, SHUT_WR), 0);
    other.get();
    EXPECT_EQ(take(here.fd), "");
  });
}

TEST_P(WaitFd, AnErrorEndsBothWaits) {
  run([] {
    auto [out, in] = make_pipe();
    fill(in.fd);
    auto writer = spawn([fd = in.fd] { wait_writable(fd); });
    yield();
    out.close();  // writing gives EPIPE now
    writer.get();
  });
}

TEST_P(WaitFd, EventsAndTimersHaveDescriptorsToo) {
  run([] {
    owned event = make_event();
    EXPECT_FALSE(wait_readable_for(event.fd, 1ms));
    auto waiting = spawn([fd = event.fd] { wait_readable(fd); });
    yield();
    signal(event.fd);
    waiting.get();

    owned timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    const ::itimerspec soon{{}, {0, 2'000'000}};
    EXPECT_EQ(::timerfd_settime(timer.fd, 0, &soon, nullptr), 0);
    wait_readable(timer.fd);
    EXPECT_EQ(take(timer.fd).size(), 8U);
    EXPECT_FALSE(wait_readable_for(timer.fd, 1ms));
  });
}

TEST_P(WaitFd, ManyWaitForOneDescriptor) {
  run([] {
    auto [here, there] = make_sockets();
    fill(here.fd);
    std::vector<future<void>> readers;
    std::vector<future<void>> writers;
    for (int i = 0; i < 50; ++i) {
      readers.push_back(spawn([fd = here.fd] { wait_readable(fd); }));
      writers.push_back(spawn([fd = here.fd] { wait_writable(fd); }));
    }
    yield();
    put(there.fd);
    for (auto& r : readers) r.get();
    for (auto& w : writers) EXPECT_FALSE(w.ready());  // only the readers were meant
    drain(there.fd);
    for (auto& w : writers) w.get();
  });
}

TEST_P(WaitFd, LoopsDoNotDisturbOneAnother) {
  run([] {
    owned event = make_event();
    std::vector<future<void>> waiting;
    std::atomic<unsigned> begun = 0;
    for (unsigned i = 0; i < loop_count(); ++i)
      waiting.push_back(spawn(on_loop(i), [&] {
        begun += 1;
        wait_readable(event.fd);
      }));
    testing::run_others_until([&] { return begun == loop_count(); });
    EXPECT_FALSE(move_on_after(1ms, [&] { wait_readable(event.fd); }));
    signal(event.fd);
    for (auto& w : waiting) w.get();
  });
}

TEST_P(WaitFd, EveryKindOfAgentMayWait) {
  run([] {
    owned event = make_event();
    auto in_a_task = spawn_cpu([&] { wait_readable(event.fd); });
    auto on_a_thread = spawn_blocking([&] { wait_readable(event.fd); });
    auto in_a_hurry = spawn_cpu([&] { return wait_readable_for(event.fd, 1ms); });
    EXPECT_FALSE(in_a_hurry.get());
    auto given_up = spawn_cpu([] { wait_writable(-1); });
    EXPECT_THROW(given_up.get(), error);
    signal(event.fd);
    in_a_task.get();
    on_a_thread.get();
  });
}

TEST_P(WaitFd, ACancelledWaitLeavesNothing) {
  run([] {
    auto [out, in] = make_pipe();
    for (int i = 0; i < 3; ++i) {
      auto reader = spawn([fd = out.fd] { wait_readable(fd); });
      yield();
      reader.cancel();
      EXPECT_THROW(reader.get(), cancelled);
      EXPECT_THROW(timeout(1ms, [fd = out.fd] { wait_readable(fd); }), timed_out);
    }
    put(in.fd);
    wait_readable(out.fd);
    EXPECT_EQ(take(out.fd), "x");
    auto never = spawn([fd = out.fd] { wait_readable(fd); });
    never.cancel();
    EXPECT_THROW(never.get(), cancelled);
  });
}

TEST_P(WaitFd, ACancelledScopeIsSeenBeforeAnything) {
  run([] {
    auto [out, in] = make_pipe();
    put(in.fd);
    cancel_scope scope;
    scope.cancel();
    EXPECT_FALSE(scope.run([fd = out.fd] { wait_readable(fd); }));
  });
}

TEST_P(WaitFd, ANumberThatIsGivenOutAnewIsAnotherDescriptor) {
  run([] {
    for (int i = 0; i < 5; ++i) {
      auto [out, in] = make_pipe();
      const int number = out.fd;
      EXPECT_FALSE(wait_readable_for(number, 100us));  // it is in the table now
      out.close();
      owned event = make_event();
      ASSERT_EQ(event.fd, number);
      auto waiting = spawn([number] { wait_readable(number); });
      yield();
      signal(number);
      waiting.get();
    }
  });
}

TEST_P(WaitFd, ADuplicateOfAClosedDescriptorDoesNoHarm) {
  run([] {
    auto [out, in] = make_pipe();
    const int number = out.fd;
    EXPECT_FALSE(wait_readable_for(number, 100us));
    owned kept(::fcntl(number, F_DUPFD_CLOEXEC, 0));  // the system watches the pipe on, under the old number
    out.close();
    owned event = make_event();
    ASSERT_EQ(event.fd, number);
    auto waiting = spawn([number] { wait_readable(number); });
    yield();
    put(in.fd);
    sleep_for(1ms);
    EXPECT_FALSE(waiting.ready());  // the pipe's event is not the event's
    signal(number);
    waiting.get();

    // And the pipe gets its number back.
    event.close();
    ASSERT_EQ(::dup3(kept.fd, number, O_CLOEXEC), number);
    owned back(number);
    wait_readable(number);
    EXPECT_EQ(take(number), "x");
    EXPECT_FALSE(wait_readable_for(number, 100us));
  });
}

TEST_P(WaitFd, WhoWaitsForAClosedDescriptorHearsOfItWhenItsNumberIsUsedAgain) {
  run([] {
    auto [out, in] = make_pipe();
    const int number = out.fd;
    auto first = spawn([number] { wait_readable(number); });
    yield();
    out.close();
    owned event = make_event();
    ASSERT_EQ(event.fd, number);
    signal(number);
    wait_readable(number);
    EXPECT_THROW(first.get(), error);
  });
}

TEST_P(WaitFd, WhoWaitsIsToldThatItIsBeingClosed) {
  run([] {
    auto [out, in] = make_pipe();
    owned twin(::fcntl(out.fd, F_DUPFD_CLOEXEC, 0));
    auto first = spawn([fd = out.fd] { wait_readable(fd); });
    auto second = spawn([fd = out.fd] { wait_readable(fd); });
    yield();
    notify_closing(out.fd);
    notify_closing(in.fd);  // nobody waits for that one
    out.close();
    for (auto* f : {&first, &second}) {
      try {
        f->get();
        ADD_FAILURE();
      } catch (const error& e) {
        EXPECT_EQ(e.code(), std::errc::bad_file_descriptor);
      }
    }
    put(in.fd);
    wait_readable(twin.fd);
  });
}

TEST_P(WaitFd, WhatIsNotOpenIsAnError) {
  run([] {
    auto [out, in] = make_pipe();
    EXPECT_FALSE(wait_readable_for(out.fd, 100us));
    const int number = out.fd;
    auto waiting = spawn([number] { wait_readable(number); });
    yield();
    out.close();
    for (const int fd : {-1, number, 1'000'000}) {
      try {
        wait_readable(fd);
        ADD_FAILURE() << fd;
      } catch (const error& e) {
        EXPECT_EQ(e.code(), std::errc::bad_file_descriptor);
      }
    }
    EXPECT_THROW(waiting.get(), error);
  });
}

TEST_P(WaitFd, AFileIsAlwaysReadyAndADirectoryCannotBeWaitedFor) {
  run([] {
    owned file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    wait_readable(file.fd);
    EXPECT_TRUE(wait_writable_for(file.fd, 0s));
    owned folder(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EXPECT_THROW(wait_readable(folder.fd), error);
  });
}

TEST_P(WaitFd, AStreamsOwnDescriptorMayBeWaitedFor) {
  run([] {
    auto [client, server] = testing::tcp_pair();
    auto reader = spawn([&] { return server.read_until("\n"); });
    yield();
    EXPECT_FALSE(wait_readable_for(server.native_handle(), 100us));
    client.write_all("one\n");
    EXPECT_EQ(reader.get(), "one\n");
    client.write_all("two\n");
    wait_readable(server.native_handle());
    EXPECT_EQ(server.read_until("\n"), "two\n");
    EXPECT_FALSE(wait_readable_for(server.native_handle(), 100us));
  });
}

TEST_P(WaitFd, ADeadlineThatHasPassedStillLooks) {
  run([] {
    auto [out, in] = make_pipe();
    EXPECT_FALSE(wait_readable_for(out.fd, 0s));
    EXPECT_FALSE(wait_readable_until(out.fd, clock::now() - 1s));
    EXPECT_TRUE(wait_writable_for(in.fd, 0s));
    EXPECT_TRUE(wait_writable_until(in.fd, clock::now() + 10s));
  });
}

TEST(WaitFdElsewhere, NeedsARuntimeAndARealWorld) {
  EXPECT_THROW(wait_readable(0), no_runtime);
  EXPECT_THROW(notify_closing(0), no_runtime);
  EXPECT_THROW(sim::run(1, [] { wait_readable(0); }), std::logic_error);
}

}  // namespace
}  // namespace weft::io::wait_fd_test
