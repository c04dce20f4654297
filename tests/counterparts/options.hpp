#pragma once
// The command lines of the programs here: "--name value" each.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace counterparts {

class options {
 public:
  options(int argc, char** argv) {
    for (int i = 1; i + 1 < argc; i += 2) given_[argv[i]] = argv[i + 1];
    if (argc % 2 == 1) return;
    std::fprintf(stderr, "%s: %s what?\n", argv[0], argv[argc - 1]);
    std::exit(2);
  }
  [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise = {}) const {
    const auto found = given_.find(name);
    return found == given_.end() ? otherwise : found->second;
  }
  [[nodiscard]] unsigned number(const std::string& name, unsigned otherwise) const {
    const auto found = given_.find(name);
    return found == given_.end() ? otherwise : static_cast<unsigned>(std::stoul(found->second));
  }

 private:
  std::map<std::string, std::string> given_;
};

}  // namespace counterparts
