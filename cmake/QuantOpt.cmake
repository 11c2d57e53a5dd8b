# How every part of quant-opt is built: one function for libraries, one for
# tools, so that flags, warnings and install rules stand in one place.

# add_mlir_doc writes to docs/ in here.
set(MLIR_BINARY_DIR ${PROJECT_BINARY_DIR})

# Debian keeps libMLIR.so where the loader does not look by itself.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

add_library(quantopt-options INTERFACE)
target_compile_features(quantopt-options INTERFACE cxx_std_20)
target_include_directories(quantopt-options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_options(quantopt-options INTERFACE
  $<BUILD_INTERFACE:-Wall -Wextra -Wno-unused-parameter -fno-exceptions>
  $<$<BOOL:${QUANTOPT_WERROR}>:$<BUILD_INTERFACE:-Werror>>)
if(QUANTOPT_SANITIZE)
  target_compile_options(quantopt-options INTERFACE
    -fsanitize=${QUANTOPT_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(quantopt-options INTERFACE -fsanitize=${QUANTOPT_SANITIZE})
endif()
set_target_properties(quantopt-options PROPERTIES EXPORT_NAME options)
install(TARGETS quantopt-options EXPORT QuantOptTargets)

# What a part that sees LLVM or MLIR headers needs: their include folders (as
# system headers: their warnings are not ours) and the two shared libraries.
add_library(quantopt-mlir INTERFACE)
# QuantOptConfig.cmake adds those of the machine that an install tree is used on.
target_include_directories(quantopt-mlir SYSTEM INTERFACE
  $<BUILD_INTERFACE:${LLVM_INCLUDE_DIRS};${MLIR_INCLUDE_DIRS}>)
separate_arguments(QUANTOPT_LLVM_DEFINITIONS NATIVE_COMMAND "${LLVM_DEFINITIONS}")
target_compile_options(quantopt-mlir INTERFACE ${QUANTOPT_LLVM_DEFINITIONS})
target_link_libraries(quantopt-mlir INTERFACE MLIR LLVM)
set_target_properties(quantopt-mlir PROPERTIES EXPORT_NAME mlir)
install(TARGETS quantopt-mlir EXPORT QuantOptTargets)

# quantopt_add_library(NAME sources... [LINK libs...] [PRIVATE libs...] [DEPENDS targets...])
function(quantopt_add_library name)
  cmake_parse_arguments(ARG "" "" "LINK;PRIVATE;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC quantopt-options ${ARG_LINK})
  if(ARG_PRIVATE)
    target_link_libraries(${name} PRIVATE ${ARG_PRIVATE})
  endif()
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  # QuantOptQuantize is QuantOpt::Quantize to those who use an install tree.
  string(REGEX REPLACE "^QuantOpt" "" export_name ${name})
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${export_name})
  install(TARGETS ${name} EXPORT QuantOptTargets)
endfunction()

# quantopt_add_tool(NAME sources... LINK libs...)
function(quantopt_add_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE quantopt-options ${ARG_LINK})
  install(TARGETS ${name} COMPONENT tools)
endfunction()

# quantopt_add_unittest(NAME sources... LINK libs...)
if(QUANTOPT_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
function(quantopt_add_unittest name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE quantopt-options ${ARG_LINK}
                        GTest::gtest GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
endfunction()
