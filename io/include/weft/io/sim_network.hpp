#pragma once
// A network for sim::run: hosts, and connections between them, on virtual time. What it does to them is drawn from the
// simulation's seed, so a run that fails can be played again.
//
//   sim::run(seed, [] {
//     io::simulated_network net({.link = {.max_latency = 20ms, .resets = 0.001}});
//     auto there = net.add_host("server");
//     auto here = net.add_host("client");
//     io::server s(there.listen(80), handler);
//     ...
//     io::stream c = here.connect(there.address(80));
//     net.cut(here, there);  // and nobody is told
//
// Streams and listeners are ordinary ones. They behave as TCP's between machines do:
// * What is written takes its time, and comes in order. Reads and writes are short.
// * A cut link tells nobody: what is sent waits for it to be whole again, and is given up after link_options::give_up.
//   Who only reads waits for ever.
// * A closed stream ends the other side's in due course. What comes to one that is closed, or was forgotten in a crash,
//   is answered by a reset, and that drops what is still under way to who gets it.
// One thread runs a simulation, so none of this takes a lock.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "weft/io/endpoint.hpp"
#include "weft/io/listener.hpp"
#include "weft/io/stream.hpp"

namespace weft::io {

namespace detail {
struct sim_net;
}

/// One way from a host to another; two hosts have two.
struct link_options {
  std::chrono::nanoseconds min_latency = std::chrono::microseconds(100);
  std::chrono::nanoseconds max_latency = std::chrono::milliseconds(5);  ///< drawn for each write
  std::uint64_t bytes_per_second = 0;                                   ///< of each connection; 0: no limit
  std::size_t window = std::size_t{64} * 1024;  ///< of each connection: bytes that were written and not read yet
  bool cuts = true;                             ///< reads and writes move a drawn part of what they could
  double resets = 0;                            ///< the chance of each write that the connection breaks
  std::chrono::nanoseconds give_up = std::chrono::minutes(15);  ///< sending into a cut link; then error with ETIMEDOUT
};

struct network_options {
  link_options link = {};      ///< of all hosts, but for set_link()
  double accept_failures = 0;  ///< the chance of each accept(): EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED

  /// Told what happens, a line each: time, who, what. Must not throw.
  std::function<void(std::string_view)> trace = {};
};

/// A host of a simulated network. A handle; copies mean the same host.
class simulated_host {
 public:
  [[nodiscard]] const std::string& name() const noexcept;
  /// 10.0.0.1 for the first one, and so on.
  [[nodiscard]] endpoint address(std::uint16_t port = 0) const noexcept;

  /// Listens; the listener belongs to the calling loop. Port 0: one that is free. At most `backlog` connections wait to
  /// be accepted; the attempts of more are repeated each second.
  /// Throws error with EADDRINUSE; with ENETDOWN when the host has crashed.
  [[nodiscard]] listener listen(std::uint16_t port = 0, std::size_t backlog = 128) const;

  /// Connects from this host; the stream belongs to the calling loop.
  ///
  /// Suspends: always.
  /// Cancel:   throws cancelled; the attempt was given up. A connection that the other side knows already ends there.
  /// Threads:  fibers.
  /// Ordering: none.
  /// Throws:   error with ECONNREFUSED where nobody listens; with ETIMEDOUT after `timeout`, when the link is cut, the
  ///           host is down or there is none; with ENETDOWN when this host has crashed.
  [[nodiscard]] stream connect(const endpoint& to, std::chrono::nanoseconds timeout = std::chrono::seconds(30)) const;

  /// Its next `count` accepts throw error with `code`. With ECONNABORTED each takes a connection with it.
  void fail_accepts(std::size_t count, int code) const;

  /// Power loss. Its connections are forgotten, and nobody is told: its own streams throw error with ENETDOWN, its
  /// listeners are closed; those at the other ends wait, and what they send waits for restart(), then to be answered
  /// with a reset.
  void crash() const;
  void restart() const;

 private:
  friend class simulated_network;
  simulated_host(std::shared_ptr<detail::sim_net> net, std::size_t index) noexcept
      : net_(std::move(net)), index_(index) {}
  std::shared_ptr<detail::sim_net> net_;
  std::size_t index_;
};

/// Hosts and the links between them. Its streams may outlive it.
class simulated_network {
 public:
  /// Throws no_runtime outside a simulation, std::invalid_argument for options that cannot be.
  explicit simulated_network(network_options options = {});

  /// At most 250.
  simulated_host add_host(std::string name);

  /// Both ways, for what is sent from now on. Throws std::invalid_argument.
  void set_link(const simulated_host& a, const simulated_host& b, const link_options& options);

  /// Both ways: nothing gets through any more, and what was under way does not arrive. Nobody is told.
  void cut(const simulated_host& a, const simulated_host& b);
  /// The same for one way alone: `to` hears nothing of `from`.
  void cut_one_way(const simulated_host& from, const simulated_host& to);
  /// Both ways are whole: what waited is sent again.
  void heal(const simulated_host& a, const simulated_host& b);

  /// Breaks a connection of this network: this side at once, the other when the reset has come there; not over a cut
  /// link. What is under way is lost. Throws std::invalid_argument when the stream is none of a simulated network, nor
  /// TLS over one.
  static void reset(const stream& s);

 private:
  std::shared_ptr<detail::sim_net> net_;
};

}  // namespace weft::io
