#pragma once
// What the tests of this folder share: how bad a bad day is, and a look that nothing is left after it.

#include <gtest/gtest.h>

#include <cstddef>

#include "io_test.hpp"
#include "system_calls.hpp"
#include "weft/inspect.hpp"

namespace weft::testing {

inline constexpr fault_rates a_bad_day = {.interrupted = 4, .not_ready = 4, .partial = 2};

/// As WithSockets: no descriptor is left, and no task, either. Calls fail no more when it has run.
class WithFaults : public WithSockets {
 protected:
  template <class F>
  void run(F body) {
    WithSockets::run([&] {
      const std::size_t before = inspect().size();
      body();
      run_others_until([&] { return inspect().size() == before; });
    });
    for (const auto call :
         {faulty_call::receive, faulty_call::send, faulty_call::accept, faulty_call::epoll_add, faulty_call::connect})
      fail_calls(call, 0, 0, 0);
  }
};

}  // namespace weft::testing
