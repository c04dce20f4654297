# Checks of the sources that one build per CI run is enough for.

find_package(Python3 REQUIRED COMPONENTS Interpreter)

add_test(NAME layers COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/cmake/layer_check.py ${PROJECT_SOURCE_DIR})
add_test(NAME layers_self_test COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/cmake/layer_check.py --self-test)

# A check that returns 77 says that its tool is not installed.
add_test(NAME format COMMAND ${PROJECT_SOURCE_DIR}/cmake/format --check)
set_tests_properties(format PROPERTIES SKIP_RETURN_CODE 77)

if(EXISTS ${PROJECT_SOURCE_DIR}/tests/model/check)
  add_test(NAME model COMMAND ${PROJECT_SOURCE_DIR}/tests/model/check ${PROJECT_BINARY_DIR}/model)
  set_tests_properties(model PROPERTIES TIMEOUT 1800 SKIP_RETURN_CODE 77 WORKING_DIRECTORY
                                                                          ${CMAKE_CURRENT_BINARY_DIR})
endif()

if(WEFT_INSTALL AND EXISTS ${PROJECT_SOURCE_DIR}/io/include/weft/weft.hpp)
  add_test(NAME package COMMAND ${PROJECT_SOURCE_DIR}/tests/package/check ${PROJECT_BINARY_DIR}
                                ${CMAKE_CURRENT_BINARY_DIR}/package ${CMAKE_CXX_COMPILER})
  set_tests_properties(package PROPERTIES TIMEOUT 1800)
endif()

# Every header, public or private, compiles alone.
set(alone "")
foreach(library executor io)
  foreach(folder ${library}/include ${library}/src)
    file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/${folder}
         ${PROJECT_SOURCE_DIR}/${folder}/*.hpp)
    foreach(header IN LISTS headers)
      set(source ${CMAKE_CURRENT_BINARY_DIR}/header_check/${folder}/${header}.cpp)
      # From the root, for executor/src and io/src may have headers of one name, and not absolute, for ccache's sake.
      file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${folder}/${header}\"\n")
      list(APPEND alone ${source})
    endforeach()
  endforeach()
endforeach()
if(alone)
  add_library(header_check OBJECT ${alone})
  weft_target(header_check)
  target_include_directories(header_check PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/executor/src
                                                  ${PROJECT_SOURCE_DIR}/io/src)
  target_compile_options(header_check PRIVATE -O0)
  # Private headers of the executor may include what the executor links privately.
  target_link_libraries(header_check PRIVATE weft::weft Boost::headers)
endif()
