#pragma once
// Which handler answers which method and path.
//
//   http::router routes;
//   routes.get("/users/{id}", [](http::request& r) { return http::text(r.parameter("id")); });
//   routes.put("/files/{path...}", save);
//   http::server server(listener, std::move(routes));
//
// "{name}" stands for one segment of the path, "{name...}" at the end for all that are left, of which there may be
// none. What is written out goes before what stands for something, whatever the order of the routes. A path that no
// route has is answered 404; a method that none of the path's has, 405 with Allow. HEAD goes where GET does, and
// OPTIONS is answered, unless they have a route of their own.
//
// Segments are compared and given decoded, each by itself, so "%2F" parts none. In what "{name...}" stands for it is
// 400, and so are "." and ".."; both are names like others elsewhere.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "http_kit/request.hpp"
#include "http_kit/response.hpp"

namespace http {

/// Called in the fiber of its connection; on several loops at once.
using handler = std::function<response(request&)>;

/// Copies have the same routes: those that are added to one, the others have, too.
class router {
 public:
  router();

  /// Throws std::invalid_argument for a pattern that is none, and for a route that is there already.
  router& on(std::string_view method, std::string_view pattern, handler answer);
  router& get(std::string_view pattern, handler answer) { return on("GET", pattern, std::move(answer)); }
  router& post(std::string_view pattern, handler answer) { return on("POST", pattern, std::move(answer)); }
  router& put(std::string_view pattern, handler answer) { return on("PUT", pattern, std::move(answer)); }
  router& patch(std::string_view pattern, handler answer) { return on("PATCH", pattern, std::move(answer)); }
  router& remove(std::string_view pattern, handler answer) { return on("DELETE", pattern, std::move(answer)); }

  /// Throws error 400, 404 or 405; what the route's handler throws. Any thread.
  response operator()(request& r) const;

 private:
  struct node;
  std::shared_ptr<node> root_;  // operator() does not change it
};

}  // namespace http
