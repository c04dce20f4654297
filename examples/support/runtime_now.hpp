#pragma once
// What the runtime holds, and what its tasks wait for, as JSON.

#include <nlohmann/json.hpp>

#include <weft/inspect.hpp>
#include <weft/statistics.hpp>

inline nlohmann::json runtime_now() {
  using nlohmann::json;
  const weft::statistics now = weft::get_statistics();
  json all{{"cpu_workers", now.cpu_workers}, {"loops", json::array()}, {"tasks", json::object()}};
  for (const weft::loop_statistics& loop : now.loops)
    all["loops"].push_back({{"switches", loop.switches}, {"stacks", loop.stacks}, {"awake", loop.awake}});
  for (const weft::task_state& task : weft::inspect()) {
    json& count = all["tasks"][task.waits_for == weft::wait_kind::none ? "run" : to_string(task.waits_for)];
    count = count.is_null() ? 1 : count.get<int>() + 1;
  }
  return all;
}
