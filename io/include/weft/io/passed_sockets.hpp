#pragma once
// Sockets that the program was started with: the protocol of systemd's socket activation, sd_listen_fds(3).

#include <string>
#include <vector>

#include "weft/io/listener.hpp"
#include "weft/io/unique_fd.hpp"

namespace weft::io {

struct passed_socket {
  unique_fd descriptor;
  std::string name;  ///< FileDescriptorName= of the unit; empty when none was told
};

/// The descriptors from 3 on that LISTEN_FDS counts, if LISTEN_PID means this process; each once: a second call gives
/// none. They are closed on exec from now on. The environment stays as it is; children do not find their own number in
/// it. Any thread.
std::vector<passed_socket> take_passed_sockets();

/// A listener of the calling loop on a socket that listens already, over IP or local. It is closed on exec from now on,
/// and no longer blocks, also for other processes that share it. Throws error with EINVAL when this is no listening
/// stream socket; no_runtime.
listener adopt_listener(unique_fd socket);

}  // namespace weft::io
