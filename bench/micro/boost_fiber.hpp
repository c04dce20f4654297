#pragma once
// Boost.Fiber as one would set it up for many short fibers: with stacks of its default size that are kept for the next.
// (By default it takes each from malloc and gives it back, at several times the cost.
// The list of idle ones runs through their low ends, which keeps 4 KiB more of each resident.)

#include <boost/fiber/all.hpp>
#include <cstddef>
#include <memory>
#include <utility>

namespace bench {

/// For fibers that start and end on one thread, and no longer than this lives.
class kept_stacks {
 public:
  template <class F>
  boost::fibers::fiber start(F&& f) const {
    auto shared = stacks_;  // a handle
    return boost::fibers::fiber(std::allocator_arg, std::move(shared), std::forward<F>(f));
  }

 private:
  // Taken from malloc 32 at first, later 1024 at a time.
  boost::fibers::pooled_fixedsize_stack stacks_{boost::context::stack_traits::default_size(), 32, 1024};
};

}  // namespace bench
