#include "weft/io/local.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "io_test.hpp"
#include "weft/io/copy.hpp"

namespace weft::io::local_test {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::pattern;
using testing::read_all;

class Local : public testing::WithSockets {
 protected:
  Local() {
    std::string name = std::filesystem::temp_directory_path() / "weft-local-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~Local() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::filesystem::path folder() const { return folder_; }
  [[nodiscard]] local_address path() const { return local_address::file((folder_ / "socket").string()); }

 private:
  std::filesystem::path folder_;
};
WEFT_ON_LOOPS(Local);

void exchange(const listener& l, listener& accepting, const local_address& to) {
  EXPECT_TRUE(l.is_open());
  stream client = connect(to);
  stream server = accepting.accept();
  client.write_all("hello");
  client.shutdown_write();
  EXPECT_EQ(read_all(server), "hello");
  server.write_all("bye");
  server.close();
  EXPECT_EQ(read_all(client), "bye");
}

TEST_P(Local, ConnectsByPathAndByAbstractName) {
  run([&] {
    listener by_path = listen(path());
    EXPECT_EQ(by_path.describe(), path().name());
    exchange(by_path, by_path, path());
    const auto name = local_address::abstract("weft test \0 "s + std::to_string(::getpid()));
    listener by_name = listen(name);
    exchange(by_name, by_name, name);
    EXPECT_THROW(listen(name), error);
    listener chosen = listen(local_address::abstract(""));
    EXPECT_EQ(chosen.describe().size(), 6U) << chosen.describe();
    exchange(chosen, chosen, local_address::abstract(chosen.describe().substr(1)));
  });
}

TEST_P(Local, AnAddressThatCannotBeIsRefusedBeforeAnySystemCall) {
  EXPECT_THROW(local_address::file(""), std::invalid_argument);
  EXPECT_THROW(local_address::file("a\0b"s), std::invalid_argument);
  EXPECT_THROW(local_address::file(std::string(108, 'x')), std::invalid_argument);
  EXPECT_THROW(local_address::abstract(std::string(108, 'x')), std::invalid_argument);
  EXPECT_EQ(to_string(local_address::file("a/b")), "a/b");
  EXPECT_EQ(to_string(local_address::abstract("a/b")), "@a/b");
  run([&] {
    // With our process's number, for others run this test at the same time.
    std::string name = std::to_string(::getpid());
    name.resize(107, 'x');
    const auto longest = local_address::abstract(name);
    listener l = listen(longest);
    exchange(l, l, longest);
  });
}

TEST_P(Local, TheFileHasItsPermissionsAndGoesWithItsListener) {
  run([&] {
    {
      listener l = listen(path(), {.permissions = std::filesystem::perms::owner_all});
      EXPECT_EQ(std::filesystem::status(path().name()).permissions(), std::filesystem::perms::owner_all);
    }
    EXPECT_FALSE(std::filesystem::exists(path().name()));
    listener l = listen(path());
    std::filesystem::remove(path().name());
    listener next = listen(path());
    l.close();  // the file is another's now
    exchange(next, next, path());
  });
}

TEST_P(Local, AStaleFileIsReplacedAndALiveOneIsNot) {
  run([&] {
    {
      const unique_fd killed(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      ::sockaddr_un at{};
      at.sun_family = AF_UNIX;
      std::strcpy(at.sun_path, path().name().c_str());
      ASSERT_EQ(::bind(killed.get(), reinterpret_cast<::sockaddr*>(&at), sizeof(at)), 0);
    }
    EXPECT_TRUE(std::filesystem::exists(path().name()));
    EXPECT_THROW(connect(path()), error);
    EXPECT_THROW(listen(path(), {.replace_stale = false}), error);
    listener l = listen(path());
    exchange(l, l, path());
    try {
      listener second = listen(path());
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::address_in_use) << e.what();
      EXPECT_EQ(e.peer(), path().name());
    }
    exchange(l, l, path());
    const auto plain = local_address::file((folder() / "plain").string());
    std::ofstream(plain.name()) << "precious";
    EXPECT_THROW(listen(plain), error);
    EXPECT_EQ(std::filesystem::file_size(plain.name()), 8U);
  });
}

TEST_P(Local, ARefusedConnectionNamesTheAddress) {
  run([&] {
    try {
      connect(path());
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::no_such_file_or_directory);
      EXPECT_EQ(e.peer(), path().name());
    }
    EXPECT_THROW(connect(local_address::abstract("weft nobody " + std::to_string(::getpid()))), error);
  });
}

TEST_P(Local, AFullQueueIsWaitedForTimedAndCancelled) {
  run([&] {
    listener l = listen(path(), {.backlog = 0});
    stream first = connect(path());
    EXPECT_FALSE(move_on_after(10ms, [&] { return connect(path()); }));
    try {
      stream second = connect(path(), {.timeout = 10ms});
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::timed_out);
    }
    auto second = spawn([&] { return connect(path()); });
    sleep_for(2ms);
    stream one = l.accept();
    stream two = l.accept();
    second.get();
  });
}

TEST_P(Local, ADescriptorGoesFromOneToTheOther) {
  run([] {
    auto [one, other] = local_pair();
    auto [near, far] = local_pair();
    auto receiving = spawn([&s = other] {
      char some[4];
      s.read_exactly(std::span(some));
      EXPECT_EQ(std::string_view(some, 4), "head");
      unique_fd fd = recv_descriptor(s);
      EXPECT_EQ(s.read_until("\n"), "tail\n");
      return fd.release();
    });
    yield();
    one.write_all("head");
    send_descriptor(one, near.native_handle());
    near.close();  // a copy is on its way
    one.write_all("tail\n");
    const unique_fd got(receiving.get());
    EXPECT_TRUE(::fcntl(got.get(), F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(::write(got.get(), "through", 7), 7);
    char some[7];
    far.read_exactly(std::span(some));
    EXPECT_EQ(std::string_view(some, 7), "through");
    EXPECT_EQ(one.bytes_written(), 10U);
    EXPECT_EQ(other.bytes_read(), 10U);
  });
}

// recv(2) stops at a byte that carries a descriptor, although there is more: a short read is not the last one here.
TEST_P(Local, BytesBehindADescriptorThatNobodyTakesAreRead) {
  run([] {
    auto [one, other] = local_pair();
    char some[100];
    EXPECT_FALSE(move_on_after(1ms, [&, &s = other] { return s.read_some(std::span(some)); }));  // its loop knows it
    one.write_all("before");
    send_descriptor(one, 0);
    one.write_all("behind");
    one.write_all("the last");
    std::string got;
    while (got.size() < 21) got.append(some, other.read_some(std::span(some)));
    EXPECT_EQ(got, "before\0behindthe last"s);
  });
}

TEST_P(Local, ReceivingADescriptorCanBeCancelledAndTimed) {
  run([] {
    auto [one, other] = local_pair();
    EXPECT_FALSE(move_on_after(1ms, [&, &s = other] { recv_descriptor(s); }));
    other.read_timeout(1ms);
    EXPECT_THROW(recv_descriptor(other), timed_out);
    send_descriptor(one, 0);
    EXPECT_TRUE(recv_descriptor(other));
    one.close();
    EXPECT_THROW(recv_descriptor(other), end_of_stream);
    other.close();
    EXPECT_THROW(recv_descriptor(other), stream_closed);
    EXPECT_THROW(send_descriptor(other, 0), stream_closed);
  });
}

// The look at open descriptors after each run sees to it that none of those below is left.
TEST_P(Local, WhatComesWithoutOneDescriptorIsAnErrorAndLeavesNone) {
  run([] {
    auto [one, other] = local_pair();
    one.write_all("x");
    try {
      recv_descriptor(other);
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::bad_message);
    }
    const auto send = [&, &s = one](const std::vector<int>& fds) {
      char mark = 0;
      ::iovec byte{&mark, 1};
      std::array<char, 1024> room{};
      ::msghdr message{};
      message.msg_iov = &byte;
      message.msg_iovlen = 1;
      message.msg_control = room.data();
      message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      ::cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
      EXPECT_EQ(::sendmsg(s.native_handle(), &message, 0), 1);
    };
    for (const std::size_t count : {2U, 4U, 50U}) {
      send(std::vector<int>(count, 0));
      try {
        recv_descriptor(other);
        ADD_FAILURE();
      } catch (const error& e) {
        EXPECT_EQ(e.code(), std::errc::bad_message);
      }
    }
    send({0});  // read as any byte, it is dropped
    char c[1];
    other.read_exactly(std::span(c));
    one.write_all("more");
    other.fill();
    EXPECT_THROW(recv_descriptor(other), std::logic_error);
    EXPECT_THROW(send_descriptor(one, 1'000'000), error);
  });
}

TEST_P(Local, ADescriptorForWhichThereIsNoRoomIsAnErrorThatSaysSo) {
  run([] {
    auto [one, other] = local_pair();
    send_descriptor(one, 0);
    char c[1];
    EXPECT_FALSE(move_on_after(1ms, [&, &s = one] { return s.read_some(std::span(c)); }));
    ::rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    ::rlimit none = before;
    none.rlim_cur = 0;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    try {
      recv_descriptor(other);
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code(), std::errc::too_many_files_open);
    }
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    send_descriptor(one, 0);
    EXPECT_TRUE(recv_descriptor(other));
  });
}

TEST_P(Local, ThePeerIsKnown) {
  run([&] {
    listener l = listen(path());
    stream client = connect(path());
    stream server = l.accept();
    for (stream* s : {&client, &server}) {
      const auto who = credentials_of(*s);
      EXPECT_EQ(who.process, ::getpid());
      EXPECT_EQ(who.user, ::getuid());
      EXPECT_EQ(who.group, ::getgid());
    }
    if (loop_count() > 1)
      spawn(on_loop((this_loop() + 1) % loop_count()), [&] { EXPECT_THROW(credentials_of(client), wrong_loop); }).get();
  });
}

TEST_P(Local, OnlyLocalSocketsCarryDescriptorsAndCredentials) {
  run([] {
    auto [a, b] = testing::tcp_pair();
    auto [c, d] = memory_pair();
    for (stream* s : {&a, &c}) {
      EXPECT_THROW(send_descriptor(*s, 0), error);
      EXPECT_THROW(recv_descriptor(*s), error);
      EXPECT_THROW(credentials_of(*s), error);
    }
  });
}

TEST(LocalSimulated, RealSocketsAreAnErrorInASimulation) {
  sim::run(1, [] {
    EXPECT_THROW(local_pair(), std::logic_error);
    EXPECT_THROW(connect(local_address::abstract("x")), std::logic_error);
    EXPECT_THROW(listen(local_address::abstract("x")), std::logic_error);
  });
}

}  // namespace
}  // namespace weft::io::local_test
