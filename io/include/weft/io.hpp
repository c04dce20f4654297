#pragma once
// All of weft::io, but for the headers that include Asio or Boost: sync_stream, boost_stream, loop_executor, use_fiber,
// asio_awaitable.

#include "weft/io/copy.hpp"
#include "weft/io/endpoint.hpp"
#include "weft/io/error.hpp"
#include "weft/io/happy_eyeballs.hpp"
#include "weft/io/lines.hpp"
#include "weft/io/listener.hpp"
#include "weft/io/local.hpp"
#include "weft/io/memory.hpp"
#include "weft/io/passed_sockets.hpp"
#include "weft/io/pipe.hpp"
#include "weft/io/resolve.hpp"
#include "weft/io/serve.hpp"
#include "weft/io/signals.hpp"
#include "weft/io/sim_network.hpp"
#include "weft/io/stream.hpp"
#include "weft/io/tcp.hpp"
#include "weft/io/transport.hpp"
#include "weft/io/unique_fd.hpp"
#include "weft/io/wait_fd.hpp"
