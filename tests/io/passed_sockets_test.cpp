#include "weft/io/passed_sockets.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "io_test.hpp"
#include "process.hpp"

namespace weft::io::passed_sockets_test {
namespace {

using testing::process;
using testing::read_all;

class PassedSockets : public testing::WithSockets {};
WEFT_ON_LOOPS(PassedSockets);

unique_fd listening(int family) {
  unique_fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::listen(fd.get(), 10), 0);  // unbound: the system chooses
  return fd;
}

// This program again, as the child that is passed a socket. It does nothing when it is run by itself.
TEST(PassedSocketsChild, EchoesALine) {
  auto all = take_passed_sockets();
  if (all.empty()) return;
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].name, "front door");
  EXPECT_EQ(all[0].descriptor.get(), 3);
  EXPECT_TRUE(::fcntl(3, F_GETFD) & FD_CLOEXEC);
  EXPECT_TRUE(take_passed_sockets().empty());
  weft::run([&] {
    timeout(std::chrono::seconds(20), [&] {
      listener l = adopt_listener(std::move(all[0].descriptor));
      stream s = l.accept();
      s.write_all(s.read_until("\n"));
    });
  });
}

TEST_P(PassedSockets, AParentPassesAListener) {
  run([] {
    unique_fd socket = listening(AF_INET);
    // The number of the process is known to the shell that becomes it. One more is told than is there.
    process child({"sh", "-c",
                   "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES='front door:back door' exec \"$0\" "
                   "--gtest_filter=PassedSocketsChild.EchoesALine",
                   std::filesystem::read_symlink("/proc/self/exe").string()},
                  socket.get());
    listener mine = adopt_listener(std::move(socket));
    const endpoint at = endpoint::loopback(mine.local().port());
    stream s = connect(at);
    s.write_all("through the front door\n");
    EXPECT_EQ(s.read_until("\n"), "through the front door\n");
    EXPECT_EQ(child.wait(), 0);
  });
}

TEST_P(PassedSockets, OnlyListeningStreamSocketsAreAdopted) {
  run([] {
    unique_fd inherited = listening(AF_INET);
    ::fcntl(inherited.get(), F_SETFD, 0);
    const listener adopted = adopt_listener(std::move(inherited));
    EXPECT_TRUE(adopted.is_open());
    EXPECT_TRUE(::fcntl(adopted.native_handle(), F_GETFD) & FD_CLOEXEC);
    EXPECT_THROW(adopt_listener(unique_fd()), error);
    EXPECT_THROW(adopt_listener(unique_fd(::open("/dev/null", O_RDONLY | O_CLOEXEC))), error);
    EXPECT_THROW(adopt_listener(unique_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))), error);
    EXPECT_THROW(adopt_listener(unique_fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))), error);
    EXPECT_TRUE(take_passed_sockets().empty());
  });
}

TEST_P(PassedSockets, ALocalListenerKeepsItsName) {
  run([] {
    unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const ::sockaddr nowhere{AF_UNIX, {}};
    ASSERT_EQ(::bind(socket.get(), &nowhere, sizeof(::sa_family_t)), 0);  // the system chooses a name
    ASSERT_EQ(::listen(socket.get(), 10), 0);
    listener l = adopt_listener(std::move(socket));
    ASSERT_EQ(l.describe().substr(0, 1), "@");
    stream client = connect(local_address::abstract(l.describe().substr(1)));
    stream server = l.accept();
    client.write_all("x");
    client.close();
    EXPECT_EQ(read_all(server), "x");
  });
}

}  // namespace
}  // namespace weft::io::passed_sockets_test
