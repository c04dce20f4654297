#include "weft/gate.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mutex>
#include <vector>

namespace weft::detail {

constinit gate no_gate;
constinit thread_local gate* tl_gate = &no_gate;

namespace {

struct gate_store {
  std::mutex mutex;
  std::vector<gate*> idle;
};
// Never destroyed: monitors of static life refer to gates.
gate_store& store() noexcept {
  static auto* const s = new gate_store;
  return *s;
}

long membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0); }

}  // namespace

gate& gate::take() {
  gate_store& s = store();
  const std::lock_guard lock(s.mutex);
  s.idle.reserve(s.idle.size() + 64);  // so that give_back() cannot fail
  if (s.idle.empty()) return *new gate;
  gate* const g = s.idle.back();
  s.idle.pop_back();
  return *g;
}

void gate::give_back(gate& g) noexcept {
  gate_store& s = store();
  const std::lock_guard lock(s.mutex);
  s.idle.push_back(&g);
}

bool can_fence_all_threads() noexcept {
  static const bool can = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
  return can;
}

void fence_all_threads() noexcept {
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) return;
  // After fork(2) the child has to register anew.
  membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
  membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

}  // namespace weft::detail
