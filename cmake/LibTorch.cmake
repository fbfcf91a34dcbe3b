# Finds LibTorch and makes the target `libtorch`.
#
# Torch's own CMake file demands a CUDA toolkit when torch was built with CUDA, so the libraries are
# linked here by name. Where LibTorch is comes from, in this order:
#   -DTorch_DIR=.../share/cmake/Torch   a LibTorch 2.x of the user's own
#   -DFEWSHIFT_PYTHON=.../python        the torch package of that Python (scripts/setup: build/venv)
# LIBTORCH_VERSION is its version, "2.13.0".
if(Torch_DIR)
  get_filename_component(root "${Torch_DIR}/../../.." ABSOLUTE)
else()
  if(NOT FEWSHIFT_PYTHON)
    set(FEWSHIFT_PYTHON "${CMAKE_SOURCE_DIR}/build/venv/bin/python")
  endif()
  execute_process(
    COMMAND "${FEWSHIFT_PYTHON}" -c "import os, torch; print(os.path.dirname(torch.__file__))"
    OUTPUT_VARIABLE root OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${FEWSHIFT_PYTHON} has no torch: run scripts/setup, or give -DTorch_DIR or "
                        "-DFEWSHIFT_PYTHON, or build without training (-DFEWSHIFT_TRAIN=OFF)")
  endif()
endif()
foreach(header "${root}/include/torch/headeronly/version.h" "${root}/include/torch/csrc/api/include/torch/version.h")
  if(EXISTS "${header}" AND NOT LIBTORCH_VERSION)
    file(STRINGS "${header}" numbers REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
    list(TRANSFORM numbers REPLACE ".* ([0-9]+).*" "\\1")
    list(JOIN numbers "." LIBTORCH_VERSION)
  endif()
endforeach()
message(STATUS "LibTorch ${LIBTORCH_VERSION}: ${root}")

add_library(libtorch INTERFACE)
target_include_directories(libtorch SYSTEM INTERFACE
  "${root}/include" "${root}/include/torch/csrc/api/include")
# One OpenMP runtime in a process: the one LibTorch brings, if it brings one.
file(GLOB gomp "${root}/lib/libgomp*.so*")
find_package(OpenMP REQUIRED COMPONENTS CXX)
target_compile_options(libtorch INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-fopenmp>")
if(gomp)
  list(GET gomp 0 gomp)
  target_link_libraries(libtorch INTERFACE "${gomp}")
else()
  target_link_libraries(libtorch INTERFACE OpenMP::OpenMP_CXX)
endif()
target_link_libraries(libtorch INTERFACE
  "${root}/lib/libtorch.so" "${root}/lib/libtorch_cpu.so" "${root}/lib/libc10.so")
if(FEWSHIFT_CUDA)
  target_link_libraries(libtorch INTERFACE "${root}/lib/libtorch_cuda.so" "${root}/lib/libc10_cuda.so")
endif()
# A CUDA build of torch keeps its CUDA libraries elsewhere and finds them by its own run path.
target_link_options(libtorch INTERFACE "-Wl,--no-as-needed" "-Wl,--allow-shlib-undefined"
  "-Wl,-rpath,${root}/lib")

# LibTorch brings the header of its gloo process group, but not gloo's headers that this one includes. Of their types it
# uses names alone, and a base class of one that we do not: declarations do.
add_library(libtorch_c10d INTERFACE)
target_compile_definitions(libtorch_c10d INTERFACE USE_C10D_GLOO)
if(NOT EXISTS "${root}/include/gloo/context.h")
  set(gloo "${CMAKE_BINARY_DIR}/gloo_declarations")
  foreach(header algorithm.h common/error.h transport/device.h config.h)
    file(CONFIGURE OUTPUT "${gloo}/gloo/${header}" CONTENT "#pragma once\n" @ONLY)  # written where it differs alone
  endforeach()
  file(CONFIGURE OUTPUT "${gloo}/gloo/context.h" @ONLY CONTENT "#pragma once
#include <chrono>
namespace gloo {
struct Context { void setTimeout(std::chrono::milliseconds); };
namespace transport { class Device; class UnboundBuffer; }
}
")
  file(CONFIGURE OUTPUT "${gloo}/gloo/rendezvous/store.h" @ONLY CONTENT "#pragma once
#include <chrono>
#include <string>
#include <vector>
namespace gloo::rendezvous {
struct Store {
  virtual ~Store() = default;
  virtual void set(const std::string&, const std::vector<char>&) = 0;
  virtual std::vector<char> get(const std::string&) = 0;
  virtual void wait(const std::vector<std::string>&) = 0;
  virtual void wait(const std::vector<std::string>&, const std::chrono::milliseconds&) = 0;
};
}
")
  target_include_directories(libtorch_c10d SYSTEM INTERFACE "${gloo}")
endif()

# NCCL, for several GPUs: LibTorch has it where it has CUDA; its header is of the package nvidia-nccl, or the system's.
if(FEWSHIFT_CUDA)
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know it of nvcc
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  find_path(NCCL_INCLUDE nccl.h PATHS "${root}/../nvidia/nccl/include")
  if(NCCL_INCLUDE)
    target_include_directories(libtorch_c10d SYSTEM INTERFACE "${NCCL_INCLUDE}" ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
    target_compile_definitions(libtorch_c10d INTERFACE USE_C10D_NCCL FEWSHIFT_NCCL)
  else()
    message(STATUS "nccl.h was not found: several GPUs speak by gloo")
  endif()
endif()
