# GLOBAL, since a project that uses add_subdirectory(weft) links these through us from its own scope.
find_package(Boost 1.74 CONFIG REQUIRED COMPONENTS context GLOBAL)
find_package(Asio 1.18 REQUIRED GLOBAL)
find_package(Threads REQUIRED GLOBAL)
if(WEFT_CPU_POOL STREQUAL "tbb")
  find_package(TBB 2021 CONFIG REQUIRED GLOBAL)
endif()
