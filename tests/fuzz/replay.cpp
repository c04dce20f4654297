// A fuzz target without libFuzzer: every file of a corpus as it is, and then so many changed ones, always the same.
//
//   <target> CORPUS [COUNT]

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "fuzz.hpp"

namespace {

std::vector<std::string> read_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& file : std::filesystem::directory_iterator(folder)) paths.push_back(file.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> all;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    all.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return all;
}

class changer {
 public:
  explicit changer(const std::vector<std::string>& files) : files_(files) {}

  std::string operator()() {
    std::string text = some_file();
    for (std::size_t n = 1 + draw(4); n > 0; --n) change(text);
    return text;
  }

 private:
  std::size_t draw(std::size_t bound) { return random_() % bound; }
  const std::string& some_file() { return files_[draw(files_.size())]; }

  void change(std::string& text) {
    const std::size_t at = draw(text.size() + 1);
    switch (draw(5)) {
      case 0:
        text.insert(at, 1, static_cast<char>(draw(256)));
        break;
      case 1:
        if (at < text.size()) text[at] = static_cast<char>(draw(256));
        break;
      case 2:
        text.erase(at, 1 + draw(8));
        break;
      case 3:
        text.insert(at, text.substr(draw(text.size() + 1), draw(16)));
        break;
      default:
        text = text.substr(0, at) + some_file().substr(0, 64);
    }
  }

  const std::vector<std::string>& files_;
  std::mt19937 random_{1};
};

void run(const std::string& text) { fuzz({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}); }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: %s CORPUS [COUNT]\n", argv[0]), 2;
  const auto files = read_files(argv[1]);
  if (files.empty()) return std::fprintf(stderr, "%s is empty\n", argv[1]), 1;
  for (const auto& file : files) run(file);
  changer changed(files);
  const int count = argc > 2 ? std::atoi(argv[2]) : 0;
  for (int i = 0; i < count; ++i) run(changed());
  std::printf("%zu files and %d others\n", files.size(), count);
}
