#include "http_kit/router.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

namespace http {

// A tree of segments.
struct router::node {
  struct route {
    std::string method;
    std::vector<std::string> names;  ///< of the pattern's parameters, in their order
    handler answer;
  };
  std::vector<std::pair<std::string, std::unique_ptr<node>>> literals;
  std::unique_ptr<node> any;   ///< for "{name}"
  std::unique_ptr<node> rest;  ///< for "{name...}"
  std::vector<route> routes;   ///< of paths that end here

  const node* find(std::string_view path, std::vector<std::string>& values) const;
};

namespace {

/// Takes the first segment of "/a/b", with its slash.
std::string_view take_segment(std::string_view& path) {
  path.remove_prefix(1);
  const std::string_view segment = path.substr(0, path.find('/'));
  path.remove_prefix(segment.size());
  return segment;
}

std::string decoded(std::string_view text) {
  if (auto plain = decode(text)) return std::move(*plain);
  throw error(status::bad_request, "the path is not to be decoded");
}

/// Of what is left of a path: decoded, and safe to take for the name of a file below a folder.
std::string decoded_rest(std::string_view path) {
  std::string all;
  while (!path.empty()) {
    const std::string segment = decoded(take_segment(path));
    if (segment == "." || segment == ".." || segment.find('/') != std::string::npos)
      throw error(status::not_found, "no such path can be");
    all.append(segment).append(path.empty() ? "" : "/");
  }
  return all;
}

}  // namespace

/// Null when no route has that path. `values`: what the parameters on the way stand for.
const router::node* router::node::find(std::string_view path, std::vector<std::string>& values) const {
  if (path.empty()) {
    if (!routes.empty()) return this;
  } else {
    std::string_view left = path;
    const std::string_view segment = take_segment(left);
    const bool plain = segment.find('%') == std::string_view::npos;
    const std::string other = plain ? std::string() : decoded(segment);
    for (const auto& [name, next] : literals)
      if (name == (plain ? segment : other))
        if (const node* found = next->find(left, values)) return found;
    if (any && !segment.empty()) {
      values.push_back(plain ? std::string(segment) : other);
      if (const node* found = any->find(left, values)) return found;
      values.pop_back();
    }
  }
  if (!rest) return nullptr;
  values.push_back(decoded_rest(path));
  return rest.get();
}

router::router() : root_(std::make_shared<node>()) {}

router& router::on(std::string_view method, std::string_view pattern, handler answer) {
  const auto fail = [&](const char* why) { throw std::invalid_argument("route " + std::string(pattern) + ": " + why); };
  if (!pattern.starts_with('/')) fail("a pattern begins with a slash");
  if (!answer) fail("no handler");
  node* at = root_.get();
  node::route added{std::string(method), {}, std::move(answer)};
  for (std::string_view left = pattern; !left.empty();) {
    const std::string_view segment = take_segment(left);
    if (segment.starts_with('{') && segment.ends_with('}')) {
      const bool is_rest = segment.ends_with("...}");
      if (is_rest && !left.empty()) fail("what stands for the rest is its end");
      added.names.emplace_back(segment.substr(1, segment.size() - (is_rest ? 5 : 2)));
      auto& next = is_rest ? at->rest : at->any;
      if (!next) next = std::make_unique<node>();
      at = next.get();
      continue;
    }
    if (segment.find_first_of("{}%") != std::string_view::npos) fail("a parameter is a segment of its own");
    const auto known = std::find_if(at->literals.begin(), at->literals.end(),
                                    [&](const auto& literal) { return literal.first == segment; });
    at = known != at->literals.end()
             ? known->second.get()
             : at->literals.emplace_back(std::string(segment), std::make_unique<node>()).second.get();
  }
  if (std::any_of(at->routes.begin(), at->routes.end(), [&](const auto& r) { return r.method == method; }))
    fail("it is there already");
  at->routes.push_back(std::move(added));
  return *this;
}

response router::operator()(request& r) const {
  std::vector<std::string> values;
  const std::string_view path = r.path();
  const node* found = path.starts_with('/') ? root_->find(path, values) : nullptr;
  const bool asks_server = path == "*" && r.method == "OPTIONS";
  if (!found && !asks_server) throw error(status::not_found, "nothing is here");

  const node::route* chosen = nullptr;
  std::string allowed;
  const auto allow = [&](std::string_view method) { allowed.append(allowed.empty() ? "" : ", ").append(method); };
  if (found) {
    for (const node::route& one : found->routes) {
      if (one.method == r.method || (!chosen && r.method == "HEAD" && one.method == "GET")) chosen = &one;
    }
    if (!chosen)
      for (const node::route& one : found->routes) {
        allow(one.method);
        if (one.method == "GET") allow("HEAD");
      }
  }
  if (chosen) {
    for (std::size_t i = 0; i < values.size(); ++i) r.parameters.emplace_back(chosen->names[i], std::move(values[i]));
    return chosen->answer(r);
  }
  if (r.method == "OPTIONS") {
    allow("OPTIONS");
    return response(status::no_content).with("Allow", allowed);
  }
  throw error(status::method_not_allowed, "only " + allowed).with("Allow", allowed);
}

}  // namespace http
