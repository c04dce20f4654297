#pragma once
// State Threads (libst), a C library of cooperative threads on one kernel thread, where it is installed.
//
// It has no yield: st_usleep(0) asks the system first. Threads that take turns do so with condition variables.

#if defined(WEFT_BENCH_STATE_THREADS)

#include <st.h>

#include <cstddef>

namespace bench::st {

/// Makes the calling thread its first thread. May be called again.
inline bool init() {
  (void)st_set_eventsys(ST_EVENTSYS_ALT);  // epoll; refused once it was chosen
  return st_init() == 0;
}

/// Starts f, which must live until the thread ends.
template <class F>
st_thread_t start(F& f) {
  return st_thread_create(
      [](void* p) -> void* {
        (*static_cast<F*>(p))();
        return nullptr;
      },
      &f, 1, 0);
}

/// Something that one waits for and another one makes true.
class signal {
 public:
  signal() : what_(st_cond_new()) {}
  ~signal() { st_cond_destroy(what_); }
  signal(const signal&) = delete;
  signal& operator=(const signal&) = delete;
  void set() {
    set_ = true;
    st_cond_signal(what_);
  }
  void wait() {
    while (!set_) st_cond_wait(what_);
    set_ = false;
  }
  /// False when the time was up.
  bool wait_for(st_utime_t microseconds) {
    while (!set_)
      if (st_cond_timedwait(what_, microseconds) != 0) return false;
    set_ = false;
    return true;
  }

 private:
  st_cond_t what_;
  bool set_ = false;
};

}  // namespace bench::st

#endif
