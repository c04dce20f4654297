#include "weft/watch.hpp"

namespace weft::detail {

watch_core::~watch_core() {
  if (awaited()) destroyed_in_use("watch", this);
}

watch_core::holder watch_core::put(holder value) {
  const bool open = ask([&] {
    if (closed_) return false;
    value_.swap(value);
    advance();
    return true;
  });
  return open ? std::move(value) : nullptr;
}

watch_core::seen watch_core::look() const noexcept {
  auto& self = const_cast<watch_core&>(*this);  // to get inside; nothing changes
  seen s;
  (void)self.ask([&] {
    s = {value_, count_, closed_};
    return true;
  });
  return s;
}

watch_core::seen watch_core::await(std::uint64_t version, deadline until) {
  checkpoint();
  for (;;) {
    seen s = look();
    if (s.version > version) {
      s.closed = false;
      return s;
    }
    if (s.closed) return s;
    if (!await_beyond(version, until)) return {};
  }
}

}  // namespace weft::detail
