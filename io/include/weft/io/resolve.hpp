#pragma once
// Names to addresses.

#include <cstdint>
#include <string_view>
#include <system_error>
#include <vector>

#include "weft/io/endpoint.hpp"

namespace weft::io {

/// The addresses of `host`, in the order to try them: getaddrinfo(3) on a thread that may block. Numbers, too.
///
/// Suspends: always.
/// Cancel:   throws cancelled at once; a lookup that has started ends by itself.
/// Threads:  any agent.
/// Ordering: none.
/// Throws:   error with resolve_category(), or the system's code; it names the host.
std::vector<endpoint> resolve(std::string_view host, std::uint16_t port);

/// The codes of getaddrinfo(3), EAI_NONAME and so on.
const std::error_category& resolve_category() noexcept;

}  // namespace weft::io
