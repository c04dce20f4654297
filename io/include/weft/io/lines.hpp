#pragma once
// The lines of a stream, for range-for.

#include <cstddef>
#include <iterator>
#include <string>

namespace weft::io {

class stream;

/// Reads a line each time it is asked for the next: `for (auto& line : s.lines()) ...`. A line comes without its "\n"
/// or "\r\n". It ends where the stream ends; what then stands behind the last "\n", if anything does, is a line, too:
/// where a line cut short must not count, use read_until().
///
/// Making the range reads nothing. begin() and ++ read, and keep the contract of stream::read_until(), without
/// end_of_stream: a line that was not read for an error or a cancellation is the first one of the next range.
class line_range {
 public:
  class iterator {
   public:
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    using reference = std::string&;
    using pointer = std::string*;
    using iterator_category = std::input_iterator_tag;

    iterator() noexcept = default;
    /// Yours until ++, to move from, too.
    reference operator*() const noexcept { return range_->line_; }
    pointer operator->() const noexcept { return &range_->line_; }
    iterator& operator++() {
      if (!range_->advance()) range_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return !i.range_; }

   private:
    friend class line_range;
    explicit iterator(line_range* r) noexcept : range_(r) {}
    line_range* range_ = nullptr;
  };

  iterator begin() { return iterator(advance() ? this : nullptr); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend class stream;
  line_range(stream& from, std::size_t limit) noexcept : from_(&from), limit_(limit) {}
  bool advance();

  stream* from_;
  std::size_t limit_;
  std::string line_;
};

}  // namespace weft::io
