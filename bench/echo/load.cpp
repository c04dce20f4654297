// A load for echo servers: connections that each send a message, wait for all of it to come back, check it, and send
// the next. Prints a line of JSON: requests/s, latencies, and what each request and connection cost the server.
//
//   load --port P [--pid P] [--connections 50] [--bytes 64] [--seconds 1] [--threads 1]

#include <random>

#include "../support/load.hpp"

namespace {

// Each message is another piece of one long text, so that no answer can pass for another connection's or an older one.
class conversation {
 public:
  conversation(std::string_view text, std::size_t size, std::size_t begin) : text_(text), size_(size), begin_(begin) {}

  [[nodiscard]] std::string_view request() const { return text_.substr(begin_ % (text_.size() - size_), size_); }

  bool take(std::string_view bytes) {
    if (request().substr(back_, bytes.size()) != bytes) bench::die("the echo is wrong");
    back_ += bytes.size();
    if (back_ < size_) return false;
    back_ = 0;
    begin_ += 97;
    return true;
  }

 private:
  std::string_view text_;
  std::size_t size_;
  std::size_t begin_;
  std::size_t back_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  bench::options given(argc, argv);
  const std::size_t size = std::max<std::size_t>(1, given.take_count("--bytes", 64));
  const bench::closed_options with(given);
  given.finish();
  std::string text(size + 10'007, ' ');
  std::mt19937 random(1);
  for (char& c : text) c = static_cast<char>(random());

  bench::closed_load<conversation>(with, [&](std::size_t i) { return conversation(text, size, i * 31); }).run();
  return 0;
}
