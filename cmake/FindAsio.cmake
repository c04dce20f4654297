# Finds standalone Asio, which ships no CMake files of its own, as the target Asio::Asio.

find_path(Asio_INCLUDE_DIR asio.hpp)
mark_as_advanced(Asio_INCLUDE_DIR)
if(Asio_INCLUDE_DIR)
  # "#define ASIO_VERSION 102201 // 1.22.1"
  file(STRINGS ${Asio_INCLUDE_DIR}/asio/version.hpp line REGEX "define ASIO_VERSION ")
  string(REGEX REPLACE ".*// *" "" Asio_VERSION "${line}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Asio REQUIRED_VARS Asio_INCLUDE_DIR VERSION_VAR Asio_VERSION)

if(Asio_FOUND AND NOT TARGET Asio::Asio)
  add_library(Asio::Asio INTERFACE IMPORTED)
  target_include_directories(Asio::Asio INTERFACE ${Asio_INCLUDE_DIR})
endif()
