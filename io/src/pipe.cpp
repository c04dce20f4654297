#include "weft/io/pipe.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "descriptor.hpp"
#include "sigpipe.hpp"
#include "socket.hpp"
#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/future.hpp"
#include "weft/loop.hpp"
#include "weft/promise.hpp"
#include "weft/spawn.hpp"

namespace weft::io {
namespace {

using detail::descriptor;

// One end of a pipe, or a terminal.
class pipe_transport final : public transport {
 public:
  pipe_transport(unique_fd end, std::string name) noexcept : end_(std::move(end)), name_(std::move(name)) {}

  std::size_t read_some(std::span<std::byte> to, wait_limit limit) override {
    for (;;) {
      if (end_.may_read()) {
        const auto n = ::read(end_.fd(), to.data(), to.size());
        if (n >= 0) return static_cast<std::size_t>(n);
        if (errno == EINTR) continue;
        if (!detail::would_wait(errno)) detail::throw_errno("read from", name_);
        end_.found_empty();
      }
      const auto how = end_.wait_readable(limit.start());
      if (how != descriptor::wait_end::ready) detail::throw_ended(how, "read from", name_);
    }
  }

  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) override {
    for (;;) {
      if (end_.may_write()) {
        const auto n = transmit(from);
        if (n >= 0) return static_cast<std::size_t>(n);
        if (errno == EINTR) continue;
        if (!detail::would_wait(errno)) detail::throw_errno("write to", name_);
        end_.found_full();
      }
      const auto how = end_.wait_writable(limit.start());
      if (how != descriptor::wait_end::ready) detail::throw_ended(how, "write to", name_);
    }
  }

  // A pipe has one half.
  void shutdown_write(wait_limit /*limit*/) override {
    const int how = ::fcntl(end_.fd(), F_GETFL) & O_ACCMODE;
    if (how == O_WRONLY) end_.close();
  }
  void close() noexcept override { end_.close(); }
  void leave_loop() override { end_.leave_loop(); }
  [[nodiscard]] std::string describe() const override { return name_; }
  [[nodiscard]] int native_handle() noexcept override { return end_.fd(); }
  unique_fd detach() override { return end_.detach(); }
  [[nodiscard]] descriptor* plain_descriptor() noexcept override { return &end_; }

 private:
  ssize_t transmit(std::span<const std::span<const std::byte>> from) const noexcept {
    std::array<::iovec, 16> pieces;
    const std::size_t count = std::min(from.size(), pieces.size());
    for (std::size_t i = 0; i < count; ++i) pieces[i] = {const_cast<std::byte*>(from[i].data()), from[i].size()};
    return detail::without_sigpipe([&] { return ::writev(end_.fd(), pieces.data(), static_cast<int>(count)); });
  }

  descriptor end_;
  const std::string name_;
};

// A descriptor that can only be read and written by a thread that blocks. One call of each kind is under way at most;
// it owns its bytes and the descriptor, for it may outlast everything here.
class threaded_transport final : public transport {
 public:
  threaded_transport(unique_fd fd, std::string name)
      : fd_(std::make_shared<const unique_fd>(std::move(fd))), name_(std::move(name)) {}
  ~threaded_transport() override { threaded_transport::close(); }

  std::size_t read_some(std::span<std::byte> to, wait_limit limit) override {
    if (!reading_.valid()) reading_ = start(calls::read, std::vector<std::byte>(std::min(to.size(), most)));
    wait(reading_, limit, "read from");
    outcome& got = *reading_.get();
    const std::size_t n = std::min(got.bytes.size() - got.used, to.size());
    if (n > 0) std::memcpy(to.data(), got.bytes.data() + got.used, n);
    got.used += n;
    const int code = got.code;
    if (got.used == got.bytes.size()) reading_ = {};
    if (code != 0) throw error(std::error_code(code, std::system_category()), "read from", name_);
    return n;
  }

  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) override {
    finish_write(limit);  // one that was cancelled
    const auto some = from.front().first(std::min(from.front().size(), most));
    writing_ = start(calls::write, std::vector<std::byte>(some.begin(), some.end()));
    try {
      finish_write(limit);
    } catch (const cancelled&) {  // it is under way
    } catch (const timed_out&) {
    }
    return some.size();
  }

  void shutdown_write(wait_limit /*limit*/) override {}
  void close() noexcept override {
    closed_ = true;
    for (const auto& f : {reading_, writing_})
      if (f.valid()) f.cancel();
  }
  void leave_loop() override {}
  [[nodiscard]] std::string describe() const override { return name_; }
  [[nodiscard]] int native_handle() noexcept override { return fd_->get(); }

 private:
  static constexpr std::size_t most = 64 * 1024;
  enum class calls : std::uint8_t { read, write };
  struct outcome {
    std::vector<std::byte> bytes;
    std::size_t used = 0;
    int code = 0;
  };
  using pending = future<std::shared_ptr<outcome>>;

  static std::shared_ptr<outcome> call(calls what, int fd, std::vector<std::byte> bytes) {
    auto o = std::make_shared<outcome>();
    std::size_t done = 0;
    for (;;) {
      const auto n = what == calls::read ? ::read(fd, bytes.data(), bytes.size()) : detail::without_sigpipe([&] {
        return ::write(fd, bytes.data() + done, bytes.size() - done);
      });
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) o->code = errno;
      if (n > 0) done += static_cast<std::size_t>(n);
      if (n <= 0 || what == calls::read || done == bytes.size()) break;
    }
    bytes.resize(what == calls::read ? done : 0);
    o->bytes = std::move(bytes);
    return o;
  }

  // Under no scope of the caller, and abandonable: see standard_input().
  [[nodiscard]] pending start(calls what, std::vector<std::byte> bytes) const {
    promise<std::shared_ptr<outcome>> p;
    pending f = p.get_future();
    (void)spawn(
        detached, {.name = "standard stream"}, [p = std::move(p), what, fd = fd_, bytes = std::move(bytes)]() mutable {
          p.set_value(
              spawn_blocking(abandonable, {.name = "standard stream"}, [what, fd, bytes = std::move(bytes)]() mutable {
                return call(what, fd->get(), std::move(bytes));
              }).get());
        });
    return f;
  }

  void wait(const pending& f, wait_limit limit, const char* operation) const {
    const deadline until = limit.start();
    const bool there = until.is_never() ? (f.wait(), true) : f.wait_until(until.when());
    if (closed_) throw stream_closed(operation, name_);
    if (!there) throw timed_out("timed out: " + std::string(operation) + " " + name_);
  }

  void finish_write(wait_limit limit) {
    if (!writing_.valid()) return;
    wait(writing_, limit, "write to");
    const int code = writing_.get()->code;
    writing_ = {};
    if (code != 0) throw error(std::error_code(code, std::system_category()), "write to", name_);
  }

  const std::shared_ptr<const unique_fd> fd_;
  const std::string name_;
  pending reading_;
  pending writing_;
  bool closed_ = false;
};

std::unique_ptr<transport> open_standard(int fd, std::string name) {
  (void)this_io_context();  // real IO needs a real loop
  struct ::stat what {};
  if (::fstat(fd, &what) != 0) detail::throw_errno("open", name);
  if (S_ISFIFO(what.st_mode) || ::isatty(fd) == 1) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    const int direction = fd == STDIN_FILENO ? O_RDONLY : O_WRONLY;
    unique_fd own(::open(path.c_str(), direction | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (own) return std::make_unique<pipe_transport>(std::move(own), std::move(name));
  }
  unique_fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) detail::throw_errno("open", name);
  if (S_ISSOCK(what.st_mode)) {
    auto socket = std::make_unique<detail::socket_transport>(std::move(copy), std::move(name));
    (void)socket->native_handle();  // it is not ours alone
    return socket;
  }
  return std::make_unique<threaded_transport>(std::move(copy), std::move(name));
}

}  // namespace

pipe_ends pipe() {
  (void)this_io_context();
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) detail::throw_errno("make", "a pipe");
  unique_fd reader(ends[0]);
  unique_fd writer(ends[1]);
  return {stream(std::make_unique<pipe_transport>(std::move(reader), "a pipe")),
          stream(std::make_unique<pipe_transport>(std::move(writer), "a pipe"))};
}

stream standard_input() { return stream(open_standard(STDIN_FILENO, "standard input")); }
stream standard_output() { return stream(open_standard(STDOUT_FILENO, "standard output")); }
stream standard_error() { return stream(open_standard(STDERR_FILENO, "standard error")); }

}  // namespace weft::io
