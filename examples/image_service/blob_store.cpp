#include "blob_store.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <system_error>

#include <weft/spawn.hpp>

namespace images {

namespace {

constexpr std::string_view unfinished = "unfinished-";

[[noreturn]] void fail(const std::filesystem::path& what) {
  throw std::system_error(errno, std::generic_category(), what.string());
}

void check(int result, const std::filesystem::path& what) {
  if (result < 0) fail(what);
}

void sync_folder(const std::filesystem::path& folder) {
  const weft::io::unique_fd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  check(fd.get(), folder);
  check(fsync(fd.get()), folder);
}

/// A file under another name, which goes if it is not given its own.
class draft {
 public:
  explicit draft(const std::filesystem::path& folder) : path_(folder / (std::string(unfinished) + "XXXXXX")) {
    fd_ = weft::io::unique_fd(mkostemp(path_.data(), O_CLOEXEC));
    check(fd_.get(), path_);
  }
  ~draft() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  draft(const draft&) = delete;
  draft& operator=(const draft&) = delete;

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
      if (n < 0 && errno != EINTR) fail(path_);
      bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    }
    check(fsync(fd_.get()), path_);
  }
  void become(const std::filesystem::path& name) {
    check(rename(path_.c_str(), name.c_str()), name);
    path_.clear();
  }

 private:
  std::string path_;
  weft::io::unique_fd fd_;
};

}  // namespace

blob_store::blob_store(std::filesystem::path folder) : folder_(std::move(folder)) {
  create_directories(folder_);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_))
    if (entry.path().filename().string().starts_with(unfinished)) remove(entry.path());
}

/// Spread over 256 folders, for one of a million files is slow in many ways.
std::filesystem::path blob_store::path_of(std::string_view name) const { return folder_ / name.substr(0, 2) / name; }

void blob_store::put(const std::vector<named_bytes>& files) const {
  weft::spawn_blocking([&] {
    std::set<std::filesystem::path> changed;
    for (const auto& [name, bytes] : files) {
      const auto path = path_of(name);
      if (exists(path)) continue;
      if (create_directory(path.parent_path())) changed.insert(folder_);
      draft file(path.parent_path());
      file.write(bytes);
      file.become(path);
      changed.insert(path.parent_path());
    }
    for (const auto& folder : changed) sync_folder(folder);
  }).get();
}

weft::io::unique_fd blob_store::open(std::string_view name) const {
  const bool is_a_name = name.size() > 2 && name.front() != '.' && name.find('/') == std::string_view::npos &&
                         name.find('\0') == std::string_view::npos;
  if (!is_a_name || name.starts_with(unfinished)) return {};
  return weft::spawn_blocking([path = path_of(name)] {
           weft::io::unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
           if (!fd && errno != ENOENT && errno != ENAMETOOLONG) fail(path);
           return fd;
         })
      .get();
}

}  // namespace images
