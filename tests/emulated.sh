#!/usr/bin/env bash
# The engine on processors that are not here: cross-compiled for 64-bit ARM (NEON), and as it is on an old x86 without AVX,
# both under qemu-user. Right or wrong is what this shows; how fast, it does not.
# usage: emulated.sh neon|old-x86 BUILD    (exit 77: its tools are not there)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
build=$2
case $1 in
  neon)
    compiler=aarch64-linux-gnu-g++ qemu=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
    command -v $compiler >/dev/null && command -v qemu-aarch64 >/dev/null && [ -d /usr/src/googletest ] || { echo "no $compiler, qemu-user or googletest"; exit 77; }
    out=$build/neon
    mkdir -p "$out"
    # Only what the engine needs, and with it GoogleTest: nothing of ARM's is installed but the compiler's own libraries.
    cat >"$out/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(neon CXX)
set(CMAKE_CXX_STANDARD 20)
file(GLOB sources $here/src/core/*.cc $here/src/arch/*.cc $here/src/graph/*.cc $here/src/graph/*/*.cc $here/src/export/*.cc
  $here/src/kernels/*.cc $here/src/engine/*.cc)
list(FILTER sources EXCLUDE REGEX "_test\\\\.cc\$")
add_compile_options(-O2 -fno-math-errno -fno-trapping-math)
add_executable(neon_test \${sources} $here/src/kernels/kernels_test.cc $here/tests/engine_test.cc
  /usr/src/googletest/googletest/src/gtest-all.cc /usr/src/googletest/googletest/src/gtest_main.cc)
target_include_directories(neon_test PRIVATE $here/src /usr/src/googletest/googletest /usr/src/googletest/googletest/include)
target_include_directories(neon_test SYSTEM PRIVATE $out/include)
target_link_options(neon_test PRIVATE -static)
END
    mkdir -p "$out/include"  # headers alone, the same for all processors
    for name in hwy protozero nlohmann; do ln -sfn /usr/include/$name "$out/include/$name"; done
    cmake -S "$out" -B "$out/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux \
      -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=$compiler >/dev/null
    cmake --build "$out/build" >"$out/build.log" || { tail -30 "$out/build.log"; exit 1; }
    "${qemu[@]}" "$out/build/neon_test" --gtest_filter='*KernelsTest*:Engine.EverySpatial*:Engine.RandomGraphs:Engine.Runs*'
    ;;
  old-x86)
    command -v qemu-x86_64 >/dev/null || { echo "no qemu-user"; exit 77; }
    for processor in Westmere qemu64; do
      echo "== $processor"
      qemu-x86_64 -cpu $processor "$build/tests/engine_test" --gtest_filter='Engine.RandomGraphs:Engine.Runs*'
    done
    ;;
esac
