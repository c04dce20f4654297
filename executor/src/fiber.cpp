#include "fiber.hpp"

namespace weft::detail {

void fiber::start(arrival from) noexcept {
  fiber& self = *static_cast<fiber*>(from.data)->next_;
  self.arrived(from);
  self.entry_(self);
  __builtin_unreachable();
}

}  // namespace weft::detail
