#include "weft/error.hpp"

#include <algorithm>

namespace weft {

namespace {

std::string summary(const std::vector<std::exception_ptr>& errors) {
  constexpr std::size_t most = 3;
  std::string text = std::to_string(errors.size()) + " errors";
  for (std::size_t i = 0; i < std::min(most, errors.size()); ++i)
    text += (i == 0 ? ": " : "; ") + detail::text_of(errors[i]);
  return errors.size() > most ? text + "; ..." : text;
}

}  // namespace

exception_group::exception_group(std::vector<std::exception_ptr> errors)
    : std::runtime_error(summary(errors)),
      errors_(std::make_shared<const std::vector<std::exception_ptr>>(std::move(errors))) {}

void exception_group::rethrow(std::vector<std::exception_ptr> errors) {
  if (errors.size() == 1) std::rethrow_exception(errors.front());
  if (!errors.empty()) throw exception_group(std::move(errors));
}

std::vector<std::exception_ptr> exception_group::flat() const {
  std::vector<std::exception_ptr> all;
  for (const std::exception_ptr& error : *errors_) {
    try {
      std::rethrow_exception(error);
    } catch (const exception_group& inner) {
      const auto part = inner.flat();
      all.insert(all.end(), part.begin(), part.end());
    } catch (...) {
      all.push_back(error);
    }
  }
  return all;
}

std::string detail::text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (const cancelled& c) {
    return std::string("cancelled (") + c.what() + ") by somebody else's scope";
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

}  // namespace weft
