#include "eh_globals.hpp"

#include <cxxabi.h>

namespace weft::detail {

[[gnu::noinline]] eh_globals* thread_eh_globals() noexcept {
  asm volatile("");
  return reinterpret_cast<eh_globals*>(abi::__cxa_get_globals());
}

}  // namespace weft::detail
