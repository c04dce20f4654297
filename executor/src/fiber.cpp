#include "fiber.hpp"

namespace weft::detail {

void fiber::start(boost::context::detail::transfer_t back) noexcept {
  fiber& self = *static_cast<fiber*>(back.data)->next_;
  self.arrived(back);
  self.entry_(self);
  __builtin_unreachable();
}

}  // namespace weft::detail
