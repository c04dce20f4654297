#pragma once
// Files named by what is in them.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <weft/io/unique_fd.hpp>

namespace images {

struct named_bytes {
  std::string name;  ///< letters, digits, '-' and '.'; at least three, and no dot at first
  std::string_view bytes;
};

/// A folder of files. One that is there is whole, also after the power failed, and never changes.
///
/// Suspends: always; files block, so the work is done by threads that may.
/// Cancel:   throws cancelled; of the files of a put() some may be there, each whole.
/// Threads:  fibers and CPU tasks, any number at once.
class blob_store {
 public:
  /// Makes the folder, and clears away what a crash left half written. Blocks. Throws
  /// std::filesystem::filesystem_error.
  explicit blob_store(std::filesystem::path folder);

  /// Returns when all are on the disk. What is there already stays. Throws std::system_error.
  void put(const std::vector<named_bytes>& files) const;

  /// The file, open for reading; none when there is no such. Throws std::system_error.
  [[nodiscard]] weft::io::unique_fd open(std::string_view name) const;

 private:
  [[nodiscard]] std::filesystem::path path_of(std::string_view name) const;
  const std::filesystem::path folder_;
};

}  // namespace images
