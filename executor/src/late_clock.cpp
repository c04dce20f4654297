#include "late_clock.hpp"

#include <fstream>
#include <string>

namespace weft::detail {

bool core_counter_is_the_clock() noexcept {
#if defined(__x86_64__)
  static const bool yes = [] {
    std::ifstream in("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    std::string name;
    return in >> name && name == "tsc";
  }();
  return yes;
#else
  return false;
#endif
}

}  // namespace weft::detail
