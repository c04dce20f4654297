#pragma once
// What the service answers to HTTP.
//
//   POST /pictures?name=N    the body is a picture. 201, or 200 when it is there already, with its record; 4xx with
//                            {"error": "..."} for what is none; 503 with Retry-After when there is too much to do
//   POST /pictures?url=U     the same, with the picture that is to be had at U
//   GET  /pictures           the newest; ?limit=N, ?after=POSITION goes on where "next" of the one before says
//   GET  /pictures/{id}      one record
//   GET  /files/{name}       a version, or the picture as it was sent
//   GET  /events             how the runtime is, twice a second (server-sent events)
//   GET  /live               the latest of these
//   GET  /ping               a few bytes, to be timed
//   GET  /                   the page

#include <chrono>
#include <cstdint>

#include "blob_store.hpp"
#include "http_kit/router.hpp"
#include "live.hpp"
#include "records.hpp"
#include "remote.hpp"
#include "workshop.hpp"

namespace images {

/// All that the routes use. Must outlive the server.
struct service {
  blob_store& blobs;
  records& pictures;
  workshop& shop;
  const remote& web;
  live& state;
  std::uint64_t most_bytes;          ///< of an upload
  std::chrono::nanoseconds longest;  ///< that it may take to come
};

http::router routes_of(service& here);

}  // namespace images
