// A load for servers that send: each connection asks for so many bytes, takes and checks them, and asks again. Prints a
// line of JSON; a request is one such answer.
//
//   load --port P [--pid P] [--connections 1] [--bytes 4194304] [--seconds 1] [--threads 1]

#include "../support/load.hpp"
#include "block.hpp"

namespace {

class conversation {
 public:
  explicit conversation(std::uint32_t size) : size_(size) {}

  [[nodiscard]] std::string_view request() const { return {reinterpret_cast<const char*>(&size_), sizeof size_}; }

  bool take(std::string_view bytes) {
    if (bytes.size() > size_ - taken_) bench::die("more came than was asked for");
    taken_ += bytes.size();
    while (!bytes.empty()) {
      const auto right = bench::block().substr(at_, bytes.size());
      if (bytes.substr(0, right.size()) != right) bench::die("other bytes came than were to be sent");
      bytes.remove_prefix(right.size());
      at_ = (at_ + right.size()) % bench::block().size();
    }
    if (taken_ < size_) return false;
    taken_ = at_ = 0;
    return true;
  }

 private:
  std::uint32_t size_;
  std::size_t taken_ = 0;
  std::size_t at_ = 0;  // in the block
};

}  // namespace

int main(int argc, char** argv) {
  bench::options given(argc, argv);
  const auto size = static_cast<std::uint32_t>(given.take_count("--bytes", 4 * 1024 * 1024));
  const bench::closed_options with(given);
  given.finish();
  bench::closed_load<conversation>(with, [&](std::size_t, int) { return conversation(size); }).run();
  return 0;
}
