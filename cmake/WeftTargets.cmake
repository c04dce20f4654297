# What weft's own targets have in common.

include(GNUInstallDirs)

if(NOT WEFT_CPU_POOL MATCHES "^(tbb|standin)$")
  message(FATAL_ERROR "WEFT_CPU_POOL is '${WEFT_CPU_POOL}'; it must be tbb or standin")
endif()
if(NOT WEFT_SANITIZE MATCHES "^(|address|thread)$")
  message(FATAL_ERROR "WEFT_SANITIZE is '${WEFT_SANITIZE}'; it must be empty, address or thread")
endif()

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
  endif()
  find_program(CCACHE ccache)
  mark_as_advanced(CCACHE)
  if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    # Paths as seen from the build directory, so that another clone finds its objects in the cache. For a debugger they
    # are relative, and the directory noted may be that of the clone that compiled first: start it where the build is.
    set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
    set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  endif()
endif()

set(WEFT_SANITIZE_FLAGS "")
if(WEFT_SANITIZE STREQUAL "address")
  # Without vptr: it probes memory through a pipe, and so reports an error where a test has used up all descriptors.
  set(WEFT_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined
                          -fno-omit-frame-pointer)
elseif(WEFT_SANITIZE STREQUAL "thread")
  set(WEFT_SANITIZE_FLAGS -fsanitize=thread -fno-omit-frame-pointer)
endif()

if(WEFT_FUZZ AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "WEFT_FUZZ needs Clang, for its libFuzzer")
endif()

# Standard and warnings, for every target in this repository.
function(weft_target target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF C_STANDARD 11)
  if(NOT WEFT_WERROR)
    return()
  endif()
  set(flags -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND flags -Wno-restrict)  # GCC 12 sees overlaps inside std::string that are not there.
    if(WEFT_SANITIZE)
      list(APPEND flags -Wno-maybe-uninitialized)  # Instrumentation hides initialisations from GCC.
    endif()
    if(WEFT_SANITIZE STREQUAL "thread")
      list(APPEND flags -Wno-error=tsan)  # GCC's TSan does not model fences; Asio has one.
    endif()
  endif()
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${flags}>")
endfunction()

# One of the libraries, from include/ and the given sources.
function(weft_library target alias)
  add_library(${target} ${ARGN})
  add_library(weft::${alias} ALIAS ${target})
  weft_target(${target})
  target_include_directories(
    ${target}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PUBLIC ${WEFT_SANITIZE_FLAGS})
  # Position-independent code, yet the library's own functions may be inlined into one another.
  target_compile_options(${target} PRIVATE -fno-semantic-interposition)
  target_link_options(${target} PUBLIC ${WEFT_SANITIZE_FLAGS})
  set_target_properties(
    ${target} PROPERTIES EXPORT_NAME ${alias} POSITION_INDEPENDENT_CODE ON VERSION ${PROJECT_VERSION}
                         SOVERSION ${PROJECT_VERSION_MAJOR})
endfunction()
