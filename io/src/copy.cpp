#include "weft/io/copy.hpp"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "descriptor.hpp"
#include "sigpipe.hpp"
#include "socket.hpp"
#include "stream_access.hpp"
#include "weft/error.hpp"
#include "weft/spawn.hpp"
#include "weft/task_group.hpp"
#include "weft/waiter.hpp"

namespace weft::io {
namespace {

using detail::stream_access;

constexpr std::size_t piece = 64 * 1024;

std::string name_of(int file) { return "file " + std::to_string(file); }

[[noreturn]] void throw_code(int code, const char* operation, const std::string& peer, std::uint64_t bytes) {
  throw error(std::error_code(code, std::system_category()), operation, peer, bytes);
}

// Ends the way on which everything was copied. Whoever is gone already needs no end.
void pass_end_on(stream& to) {
  try {
    to.shutdown_write();
  } catch (const error& e) {
    if (e.code() != std::errc::not_connected) throw;
  }
}

// --- files ---

struct chunk {
  std::unique_ptr<std::byte[]> bytes;
  std::size_t size = 0;
  int code = 0;
};

// On a thread that may block.
chunk read_file(int file, std::uint64_t offset, std::size_t size) {
  chunk c{std::unique_ptr<std::byte[]>(new std::byte[size])};
  while (c.size < size) {
    const auto n = ::pread(file, c.bytes.get() + c.size, size - c.size, static_cast<::off_t>(offset + c.size));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && c.size == 0) c.code = errno;
    if (n <= 0) break;
    c.size += static_cast<std::size_t>(n);
  }
  return c;
}

chunk read_file_elsewhere(int file, std::uint64_t offset, std::size_t size) {
  return spawn_blocking({.name = "read a file"}, [=] { return read_file(file, offset, size); }).get();
}

// False when the byte would have to be fetched from the disk. A file that cannot tell is taken to be in memory.
bool is_cached(int file, std::uint64_t at) noexcept {
  std::byte b{};
  const ::iovec one{&b, 1};
  return ::preadv2(file, &one, 1, static_cast<::off_t>(at), RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

// Gives how many bytes went; 0 at the end of the file.
std::size_t send_plain(stream& to, detail::descriptor& out, int file, std::uint64_t offset, std::size_t size,
                       std::uint64_t done) {
  // The first and the last page stand for all: a loop must not wait for a disk.
  if (!is_cached(file, offset) || !is_cached(file, offset + size - 1)) (void)read_file_elsewhere(file, offset, size);
  auto limit = stream_access::write_limit(to);
  for (;;) {
    stream_access::check_open(to);
    if (out.may_write()) {
      auto at = static_cast<::off_t>(offset);
      const auto n = detail::without_sigpipe([&] { return ::sendfile(out.fd(), file, &at, size); });
      if (n >= 0) return static_cast<std::size_t>(n);
      const int code = errno;
      if (code == EINTR) continue;
      if (!detail::would_wait(code)) {
        const bool theirs = code == EPIPE || (code >= ENETDOWN && code <= EHOSTUNREACH);  // the network's codes
        throw_code(code, theirs ? detail::writing : "send", theirs ? to.describe() : name_of(file), done);
      }
      out.found_full();
    }
    const auto how = out.wait_writable(limit.start());
    if (how != detail::descriptor::wait_end::ready) detail::throw_ended(how, detail::writing, to.describe());
  }
}

std::size_t send_through_buffer(stream& to, int file, std::uint64_t offset, std::size_t size, std::uint64_t before) {
  const chunk c = read_file_elsewhere(file, offset, size);
  if (c.code != 0) throw_code(c.code, "read", name_of(file), to.bytes_written() - before);
  std::span<const std::byte> rest(c.bytes.get(), c.size);
  while (!rest.empty()) rest = rest.subspan(stream_access::send(to, rest, before));
  return c.size;
}

}  // namespace

std::uint64_t copy(stream& from, stream& to) {
  const stream_access::reader_turn reader(from);
  const stream_access::writer_turn writer(to);
  stream_access::reserve(from, piece);
  const std::uint64_t before = to.bytes_written();
  for (;;) {
    checkpoint();
    while (!from.buffered().empty()) {
      const auto some = std::as_bytes(std::span(from.buffered()));
      stream_access::consume(from, stream_access::send(to, some, before));
    }
    const std::uint64_t done = to.bytes_written() - before;
    try {
      if (stream_access::receive_more(from) == 0) return done;
    } catch (error& e) {
      e.add_bytes(done);
      throw;
    }
  }
}

copied copy_bidirectional(stream& first, stream& second) {
  copied done;
  try {
    with_group([&](task_group& both) {
      both.spawn({.name = "copy"}, [&] {
        done.to_second = copy(first, second);
        pass_end_on(second);
      });
      done.to_first = copy(second, first);
      pass_end_on(first);
    });
  } catch (const exception_group& several) {
    std::rethrow_exception(several.exceptions().front());
  }
  return done;
}

std::uint64_t send_file(stream& to, int file, std::uint64_t offset, std::uint64_t count) {
  const stream_access::writer_turn mine(to);
  checkpoint();
  const std::uint64_t before = to.bytes_written();
  detail::descriptor* plain = stream_access::carrier(to)->plain_descriptor();
  // sendfile(2) cannot be asked not to wait: see standard_output().
  if (plain && (::fcntl(plain->fd(), F_GETFL) & O_NONBLOCK) == 0) plain = nullptr;
  std::uint64_t done = 0;
  while (done < count) {
    if (done > 0) checkpoint();
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(count - done, plain ? 4 * piece : piece));
    const std::size_t n = plain ? send_plain(to, *plain, file, offset + done, size, done)
                                : send_through_buffer(to, file, offset + done, size, before);
    if (plain) stream_access::count_written(to, n);
    if (n == 0) break;
    done += n;
  }
  return done;
}

}  // namespace weft::io
