#pragma once
// Work that is of no use once the client has gone.

#include <exception>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <weft/cancel.hpp>
#include <weft/cancel_scope.hpp>
#include <weft/spawn.hpp>

#include "http_kit/request.hpp"
#include "http_kit/status.hpp"

namespace http {

/// Runs f in the caller, and cancels it when the client ends the connection. For a request whose body was read.
///
/// Suspends: always; as f does.
/// Cancel:   throws cancelled, as f does.
/// Threads:  the fiber that serves the request.
/// Ordering: f runs in the caller.
/// Throws:   what f throws; error 499 when the client went first; std::logic_error, after f was cancelled, when the
/// body
///           was not read.
template <class F>
std::invoke_result_t<F> while_connected(request& r, F&& f) {
  const weft::cancel_scope work;
  std::exception_ptr misuse;
  struct watching {
    weft::future<void> task;
    ~watching() {
      task.cancel();
      weft::shield([&] { task.wait(); });
    }
  } const watcher{weft::spawn([&] {
    try {
      r.wait_until_gone();
    } catch (const std::logic_error&) {
      misuse = std::current_exception();
    }
    work.cancel();
  })};
  auto result = work.run(std::forward<F>(f));
  if (misuse) std::rethrow_exception(misuse);
  if (!result) throw error(client_gone, "the client has gone");
  if constexpr (!std::is_void_v<std::invoke_result_t<F>>) return std::move(*result);
}

}  // namespace http
