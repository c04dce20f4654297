#include "weft/io/memory.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <mutex>
#include <new>
#include <stdexcept>
#include <vector>

#include "weft/cancel.hpp"
#include "weft/error.hpp"
#include "weft/simulation.hpp"
#include "weft/waiter.hpp"

namespace weft::io {
namespace {

[[noreturn]] void throw_code(int code, const char* operation, const char* peer) {
  throw error(std::error_code(code, std::system_category()), operation, peer);
}

bool in_simulation() noexcept {
  try {
    (void)sim::seed();
    return true;
  } catch (...) {
    return false;
  }
}

// Waits until done() is true, which is asked under the lock; `slot` is where others find the waker.
template <class Done>
bool wait_for(std::mutex& mutex, waker& slot, wait_kind kind, deadline until, Done done) {
  waiter w(kind, &slot);
  {
    const std::lock_guard lock(mutex);
    if (done()) return true;
    slot = w.handle();
  }
  const auto how = w.suspend(until);
  {
    const std::lock_guard lock(mutex);
    slot = {};
    if (done()) return true;
  }
  if (how == wake_reason::cancelled) check_cancelled();
  return how != wake_reason::timed_out;
}

// One direction. Its ends may be on two loops; nothing but a copy of bytes happens under the lock.
struct pipe {
  explicit pipe(std::size_t capacity) : ring(capacity) {}

  std::mutex mutex;
  std::vector<std::byte> ring;
  std::size_t begin = 0;
  std::size_t size = 0;
  bool ended = false;   ///< the writer has ended it
  bool broken = false;  ///< the reader is gone
  waker reader;
  waker writer;

  // Copies up to `most` bytes. Under the lock.
  std::size_t take(std::byte* to, std::size_t most) noexcept {
    const std::size_t n = std::min(most, size);
    const std::size_t first = std::min(n, ring.size() - begin);
    std::memcpy(to, ring.data() + begin, first);
    std::memcpy(to + first, ring.data(), n - first);
    begin = (begin + n) % ring.size();
    size -= n;
    return n;
  }
  std::size_t put(const std::byte* from, std::size_t most) noexcept {
    const std::size_t n = std::min(most, ring.size() - size);
    const std::size_t at = (begin + size) % ring.size();
    const std::size_t first = std::min(n, ring.size() - at);
    std::memcpy(ring.data() + at, from, first);
    std::memcpy(ring.data(), from + first, n - first);
    size += n;
    return n;
  }
  void put_more(std::span<const std::byte> from) {
    std::vector<std::byte> larger(size + from.size());
    const std::size_t n = take(larger.data(), size);
    std::memcpy(larger.data() + n, from.data(), from.size());
    ring = std::move(larger);
    begin = 0;
    size = ring.size();
  }
};

struct two_pipes {
  explicit two_pipes(std::size_t capacity) : there(capacity), back(capacity) {}
  pipe there;
  pipe back;
};

class memory_transport final : public transport {
 public:
  memory_transport(std::shared_ptr<two_pipes> both, pipe& in, pipe& out, bool draws) noexcept
      : both_(std::move(both)), in_(in), out_(out), draws_(draws) {}
  ~memory_transport() override { close(); }

  std::size_t read_some(std::span<std::byte> to, wait_limit limit) override {
    const std::size_t most = part_of(to.size());
    for (;;) {
      if (closed_) throw stream_closed("read from", name);
      std::unique_lock lock(in_.mutex);
      if (in_.size == 0 && in_.ended) return 0;
      if (const std::size_t n = in_.take(to.data(), most)) {
        const waker writer = std::exchange(in_.writer, {});
        lock.unlock();
        writer.wake();
        return n;
      }
      lock.unlock();
      if (!wait_for(in_.mutex, in_.reader, wait_kind::readable, limit.start(),
                    [&] { return in_.size > 0 || in_.ended || closed_; }))
        throw timed_out("timed out: read from memory: the other side was too slow");
    }
  }

  std::size_t write_some(std::span<const std::span<const std::byte>> from, wait_limit limit) override {
    const std::span<const std::byte> first = from.front();
    const std::size_t most = part_of(first.size());
    for (;;) {
      if (closed_) throw stream_closed("write to", name);
      std::unique_lock lock(out_.mutex);
      if (out_.broken || out_.ended) throw_code(EPIPE, "write to", name);
      if (const std::size_t n = out_.put(first.data(), most)) {
        const waker reader = std::exchange(out_.reader, {});
        lock.unlock();
        reader.wake();
        return n;
      }
      lock.unlock();
      if (!wait_for(out_.mutex, out_.writer, wait_kind::writable, limit.start(),
                    [&] { return out_.size < out_.ring.size() || out_.broken || closed_; }))
        throw timed_out("timed out: write to memory: the other side was too slow");
    }
  }

  std::size_t try_write(std::span<const std::byte> from) noexcept override {
    if (from.empty()) return 0;
    waker reader;
    std::size_t n = 0;
    {
      const std::lock_guard lock(out_.mutex);
      if (closed_ || out_.broken || out_.ended) return 0;
      n = out_.put(from.data(), from.size());
      if (n > 0) std::swap(reader, out_.reader);
    }
    reader.wake();
    return n;
  }

  void shutdown_write(wait_limit /*limit*/) override { end(out_, &pipe::ended); }

  void close() noexcept override {
    closed_ = true;
    end(out_, &pipe::ended);
    end(in_, &pipe::broken);
  }

  // What there is no room for is taken all the same: nothing comes after it.
  void close_after(std::span<const std::byte> last) noexcept override {
    last = last.subspan(try_write(last));
    try {
      const std::lock_guard lock(out_.mutex);
      if (!last.empty() && !closed_ && !out_.broken && !out_.ended) out_.put_more(last);
    } catch (const std::bad_alloc&) {
      // It is lost.
    }
    close();
  }

  void leave_loop() override {}
  [[nodiscard]] std::string describe() const override { return name; }

 private:
  static constexpr auto name = "memory";

  static void end(pipe& p, bool pipe::*how) noexcept {
    waker reader;
    waker writer;
    {
      const std::lock_guard lock(p.mutex);
      p.*how = true;
      std::swap(reader, p.reader);
      std::swap(writer, p.writer);
    }
    reader.wake();
    writer.wake();
  }

  [[nodiscard]] std::size_t part_of(std::size_t n) const {
    return draws_ ? static_cast<std::size_t>(1 + sim::draw(n)) : n;
  }

  const std::shared_ptr<two_pipes> both_;
  pipe& in_;
  pipe& out_;
  const bool draws_;
  bool closed_ = false;
};

using carriers = std::pair<std::unique_ptr<transport>, std::unique_ptr<transport>>;

carriers make_pair_of_carriers(std::size_t capacity) {
  if (capacity == 0) throw std::invalid_argument("a memory pair needs a capacity of 1 byte at least");
  auto both = std::make_shared<two_pipes>(capacity);
  const bool draws = in_simulation();
  return {std::make_unique<memory_transport>(both, both->back, both->there, draws),
          std::make_unique<memory_transport>(both, both->there, both->back, draws)};
}

}  // namespace

std::pair<stream, stream> memory_pair(std::size_t capacity) {
  auto [one, other] = make_pair_of_carriers(capacity);
  return {stream(std::move(one)), stream(std::move(other))};
}

// --- listening ---

struct memory_connector::shared {
  static constexpr std::size_t most_waiting = 1024;

  std::mutex mutex;
  std::size_t capacity = 0;
  bool closed = false;
  std::deque<std::unique_ptr<transport>> waiting;
  waker accepting;
};

class memory_connector::source final : public acceptor {
 public:
  explicit source(std::shared_ptr<shared> s) noexcept : shared_(std::move(s)) {}
  ~source() override { source::close(); }

  std::unique_ptr<transport> accept() override {
    shared& s = *shared_;
    for (;;) {
      {
        const std::lock_guard lock(s.mutex);
        if (s.closed) throw stream_closed("accept on", "memory");
        if (!s.waiting.empty()) {
          auto next = std::move(s.waiting.front());
          s.waiting.pop_front();
          return next;
        }
      }
      wait_for(s.mutex, s.accepting, wait_kind::io, {}, [&] { return !s.waiting.empty() || s.closed; });
    }
  }

  void close() noexcept override {
    std::deque<std::unique_ptr<transport>> refused;
    waker accepting;
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->closed = true;
      std::swap(refused, shared_->waiting);
      std::swap(accepting, shared_->accepting);
    }
    accepting.wake();
  }

  [[nodiscard]] std::string describe() const override { return "memory"; }

 private:
  const std::shared_ptr<shared> shared_;
};

stream memory_connector::connect() const {
  auto [mine, theirs] = make_pair_of_carriers(shared_->capacity);
  stream s(std::move(mine));
  waker accepting;
  {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->closed || shared_->waiting.size() >= shared::most_waiting)
      throw_code(ECONNREFUSED, "connect to", "memory");
    shared_->waiting.push_back(std::move(theirs));
    std::swap(accepting, shared_->accepting);
  }
  accepting.wake();
  return s;
}

std::pair<listener, memory_connector> memory_listen(std::size_t capacity) {
  auto s = std::make_shared<memory_connector::shared>();
  s->capacity = capacity;
  return {listener(std::make_unique<memory_connector::source>(s)), memory_connector(s)};
}

}  // namespace weft::io
