#pragma once
// The page's files, as they lie in page/. They are compiled into the program, so that it can be put anywhere.

#include <span>
#include <string_view>

namespace images {

struct page_file {
  std::string_view path;  ///< "/style.css"; "/" for index.html
  std::string_view type;
  std::string_view text;
};

std::span<const page_file> page_files();

}  // namespace images
