#include "weft/io/pipe.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "io_test.hpp"
#include "socket.hpp"
#include "weft/io/copy.hpp"

namespace weft::io::pipe_test {
namespace {

using namespace std::chrono_literals;
using testing::pattern;
using testing::read_all;
using testing::run_others_until;

class Pipe : public testing::WithSockets {};
WEFT_ON_LOOPS(Pipe);

TEST_P(Pipe, CarriesBytesAndTheirEnd) {
  run([] {
    auto [reader, writer] = io::pipe();
    const std::string sent = pattern(1'000'000);
    auto writing = spawn([&, &w = writer] {
      w.write_all(sent);
      w.write_all({"a", "", "b"});
      w.shutdown_write();
    });
    EXPECT_EQ(read_all(reader), sent + "ab");
    writing.get();
  });
}

TEST_P(Pipe, AReaderThatIsGoneIsAnErrorAndNoSignal) {
  run([] {
    auto [reader, writer] = io::pipe();
    auto writing = spawn([&w = writer] { w.write_all(pattern(1'000'000)); });
    char some[100];
    reader.read_exactly(std::span(some));
    reader.close();
    try {
      writing.get();
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::broken_pipe);
      EXPECT_EQ(e.bytes(), writer.bytes_written());
    }
    ::sigset_t pending;
    ::sigpending(&pending);
    EXPECT_FALSE(::sigismember(&pending, SIGPIPE));
  });
}

TEST_P(Pipe, EachEndDoesOneThing) {
  run([] {
    auto [reader, writer] = io::pipe();
    char c[1];
    EXPECT_THROW(reader.write_all("x"), error);
    EXPECT_THROW(writer.read_some(std::span(c)), error);
  });
}

TEST_P(Pipe, ACancelledReadOrWriteLosesNothing) {
  run([] {
    auto [reader, writer] = io::pipe();
    EXPECT_FALSE(move_on_after(1ms, [&r = reader] { return r.read_until("\n"); }));
    const std::string sent = pattern(1'000'000);
    EXPECT_FALSE(move_on_after(5ms, [&, &w = writer] { w.write_all(sent); }));
    const auto written = writer.bytes_written();
    auto rest = spawn([&, &w = writer] {
      w.write_all(std::string_view(sent).substr(written));
      w.close();
    });
    EXPECT_EQ(read_all(reader), sent);
    rest.get();
  });
}

TEST_P(Pipe, CloseEndsTheWaitsOfOthers) {
  run([] {
    auto [reader, writer] = io::pipe();
    auto reading = spawn([&r = reader] { EXPECT_THROW(r.read_until("\n"), stream_closed); });
    yield();
    reader.close();
    reading.get();
  });
}

// --- standard streams: descriptors 0 and 1 are another's for the time of a test ---

class replaced {
 public:
  replaced(int which, int by) : which_(which), before_(::fcntl(which, F_DUPFD_CLOEXEC, 3)) { ::dup2(by, which); }
  ~replaced() { ::dup2(before_.get(), which_); }
  replaced(const replaced&) = delete;
  replaced& operator=(const replaced&) = delete;

 private:
  int which_;
  unique_fd before_;
};

bool blocks(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

std::pair<unique_fd, unique_fd> blocking_pipe() {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  return {unique_fd(ends[0]), unique_fd(ends[1])};
}

TEST_P(Pipe, StandardStreamsOverPipesLeaveTheirFlagsAlone) {
  run([] {
    auto [in, feed] = blocking_pipe();
    auto [drain, out] = blocking_pipe();
    {
      const replaced zero(0, in.get());
      const replaced one(1, out.get());
      stream input = standard_input();
      stream output = standard_output();
      EXPECT_FALSE(move_on_after(1ms, [&] { return input.read_until("\n"); }));
      EXPECT_EQ(::write(feed.get(), "line\n", 5), 5);
      EXPECT_EQ(input.read_until("\n"), "line\n");
      output.write_all("answer");
      EXPECT_TRUE(blocks(0));
      EXPECT_TRUE(blocks(1));
      feed = unique_fd();
      EXPECT_EQ(read_all(input), "");
    }
    char some[6];
    EXPECT_EQ(::read(drain.get(), some, 6), 6);
    EXPECT_EQ(std::string_view(some, 6), "answer");
  });
}

TEST_P(Pipe, StandardStreamsOverATerminalLeaveItsFlagsAlone) {
  run([] {
    const unique_fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(master);
    ASSERT_EQ(::grantpt(master.get()), 0);
    ASSERT_EQ(::unlockpt(master.get()), 0);
    const unique_fd terminal(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(terminal);
    const replaced zero(0, terminal.get());
    stream input = standard_input();
    EXPECT_FALSE(move_on_after(1ms, [&] { return input.read_until("\n"); }));
    EXPECT_EQ(::write(master.get(), "typed\n", 6), 6);
    EXPECT_EQ(input.read_until("\n"), "typed\n");
    EXPECT_TRUE(blocks(0));
  });
}

TEST_P(Pipe, StandardStreamsOverASocketLeaveItsFlagsAlone) {
  run([] {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const unique_fd mine(ends[0]);
    const unique_fd theirs(ends[1]);
    const replaced zero(0, theirs.get());
    stream input = standard_input();
    EXPECT_FALSE(move_on_after(1ms, [&] { return input.read_until("\n"); }));
    EXPECT_EQ(::write(mine.get(), "line\n", 5), 5);
    EXPECT_EQ(input.read_until("\n"), "line\n");
    EXPECT_TRUE(blocks(0));
  });
}

// Each of these would hold the loop, and with it the one who is to end the wait.
TEST_P(Pipe, StandardStreamsOverASocketNeverHoldTheLoop) {
  run([] {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    unique_fd mine(ends[0]);
    const unique_fd theirs(ends[1]);
    const replaced one(1, theirs.get());
    stream both = standard_output();
    EXPECT_FALSE(move_on_after(1ms, [&] { return recv_descriptor(both); }));

    char name[] = "/tmp/weft-pipe-XXXXXX";
    const unique_fd file(::mkostemp(name, O_CLOEXEC));
    ::unlink(name);
    const std::string text = pattern(300'000);
    ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    std::string filler;
    while (::send(theirs.get(), "x", 1, MSG_DONTWAIT) == 1) filler += 'x';
    EXPECT_FALSE(move_on_after(1ms, [&] { send_descriptor(both, file.get()); }));
    stream again = standard_output();  // which does not know yet that the way is full
    EXPECT_FALSE(move_on_after(1ms, [&] { return send_file(again, file.get(), 0, text.size()); }));
    EXPECT_TRUE(blocks(1));
    EXPECT_EQ(both.bytes_written() + again.bytes_written(), 0U);

    ASSERT_EQ(::fcntl(mine.get(), F_SETFL, O_NONBLOCK), 0);
    stream reader(std::make_unique<detail::socket_transport>(std::move(mine), "the other end"));
    auto reading = spawn([&] { return read_all(reader); });
    EXPECT_EQ(send_file(both, file.get(), 0, text.size()), text.size());
    both.shutdown_write();
    EXPECT_TRUE(reading.get() == filler + text);
  });
}

TEST_P(Pipe, StandardStreamsOverFilesGoOnWhereTheFileIs) {
  run([] {
    char name[] = "/tmp/weft-pipe-XXXXXX";
    const unique_fd file(::mkostemp(name, O_CLOEXEC));
    ::unlink(name);
    const std::string text = pattern(200'000);
    ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ASSERT_EQ(::lseek(file.get(), 100, SEEK_SET), 100);
    {
      const replaced zero(0, file.get());
      stream input = standard_input();
      EXPECT_EQ(read_all(input), text.substr(100));
      const replaced one(1, file.get());
      stream output = standard_output();
      output.write_all({"appended", " here"});
    }
    std::string end(13, '\0');
    EXPECT_EQ(::pread(file.get(), end.data(), end.size(), 200'000), 13);
    EXPECT_EQ(end, "appended here");
    const unique_fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const replaced zero(0, null.get());
    stream input = standard_input();
    EXPECT_EQ(read_all(input), "");
  });
}

}  // namespace
}  // namespace weft::io::pipe_test
