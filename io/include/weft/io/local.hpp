#pragma once
// Unix-domain stream sockets: connections within one machine, which can carry descriptors. See unix(7).

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/types.h>

#include "weft/io/listener.hpp"
#include "weft/io/stream.hpp"
#include "weft/io/unique_fd.hpp"

namespace weft::io {

/// Where a local socket listens: a file, or a name of Linux's own that is no file, is open to every user of the network
/// namespace, and goes with its socket.
class local_address {
 public:
  /// Throws std::invalid_argument when the path is empty, holds a zero or is longer than 107 bytes.
  static local_address file(std::string_view path);
  /// Throws std::invalid_argument beyond 107 bytes. Zeros may be in it; an empty name has the system choose one when
  /// one listens.
  static local_address abstract(std::string_view name);

  [[nodiscard]] bool is_file() const noexcept { return is_file_; }
  /// The path, or the name.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  bool operator==(const local_address&) const noexcept = default;

 private:
  local_address(bool is_file, std::string_view name) : is_file_(is_file), name_(name) {}
  bool is_file_;
  std::string name_;
};

/// The path, or "@name".
std::string to_string(const local_address& a);

struct local_connect_options {
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);  ///< then error with ETIMEDOUT
};

struct local_listen_options {
  int backlog = 4096;  ///< connections that wait to be accepted; the system cuts it to net.core.somaxconn
  std::optional<std::filesystem::perms> permissions = {};  ///< of the file: whoever may write to it may connect
  /// A server that was killed leaves its socket file behind, where nobody can listen then. True: a socket file
  /// without a socket is removed; one that somebody listens on, or another kind of file, is an error. A lock on the
  /// directory (flock(2)) has servers that start at once take turns, if they may read it.
  bool replace_stale = true;
};

/// Connects; the stream belongs to the calling loop.
///
/// Suspends: a checkpoint always; switches while the listener's queue is full: the system tells of no end of that, so
///           it tries again after pauses from 1 to 50 ms.
/// Cancel:   throws cancelled; the attempt was given up and its socket closed.
/// Threads:  fibers.
/// Ordering: none.
/// Throws:   error, which names the address.
stream connect(const local_address& to, const local_connect_options& options = {});

/// Listens; the listener belongs to the calling loop. Closing it removes its file, if that is still its own.
///
/// Suspends: never.
/// Cancel:   not a cancellation point.
/// Threads:  fibers.
/// Ordering: connections are queued from now on; before that the file has its permissions.
/// Throws:   error, which names the address; EADDRINUSE when somebody listens there.
listener listen(const local_address& at, const local_listen_options& options = {});

/// Two ends of one connection, both of the calling loop (socketpair(2)). Throws error.
std::pair<stream, stream> local_pair();

/// Sends a copy of the descriptor, with one byte (0) in the stream that carries it. The other side must take that byte
/// with recv_descriptor(): any other read drops the descriptor.
///
/// Suspends: a checkpoint always; switches when the way is full, else every 128th call.
/// Cancel:   throws cancelled; nothing was sent. Once it has returned the descriptor may be closed.
/// Threads:  fibers of the stream's loop, as its writer.
/// Ordering: after all that was written.
/// Throws:   as stream::write_some(); error with EBADF for the descriptor, with ENOTSUP when this is no local socket.
void send_descriptor(stream& to, int descriptor);

/// Takes a descriptor, and the byte that carries it. What comes before it must have been read with read_some() or
/// read_exactly(), which take no more than they are asked for.
///
/// Suspends: a checkpoint always; switches when nothing is there, else every 128th call.
/// Cancel:   throws cancelled; nothing was taken.
/// Threads:  fibers of the stream's loop, as its reader.
/// Ordering: as stream::read_some().
/// Throws:   end_of_stream; as stream::read_some(); std::logic_error when bytes are buffered. error with EBADMSG when
///           the next byte carries no descriptor or several, with EMFILE when this process can take no more: then the
///           byte is gone, and what came with it is closed.
unique_fd recv_descriptor(stream& from);

/// Who was at the other end when the connection was made.
struct peer_credentials {
  ::pid_t process = 0;
  ::uid_t user = 0;
  ::gid_t group = 0;
};

/// As the system vouches for it (SO_PEERCRED). Throws error with ENOTSUP when this is no local socket; stream_closed;
/// wrong_loop.
peer_credentials credentials_of(stream& s);

}  // namespace weft::io
