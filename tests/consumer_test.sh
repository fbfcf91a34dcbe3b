#!/usr/bin/env bash
# The programs of docs/api.md in C and C++, from an empty folder, against the installed library; each names the classes that
# `fewshift predict` names.   usage: consumer_test.sh BUILD
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --component library --prefix "$work/prefix" >/dev/null
cd "$work"
# The block of docs/api.md that begins with this line.
block() {
  awk -v first="$1" '/^```/ { if (inside) exit; next_is_first = 1; next }
    next_is_first { next_is_first = 0; inside = index($0, first) == 1 } inside' "$here/docs/api.md" | tee /dev/stderr | grep -q . ||
    { echo "docs/api.md has no block that begins with $1" >&2; exit 1; }
}
{ block '// classify.c ' >/dev/null; } 2>classify.c
{ block '// classify.cpp' >/dev/null; } 2>classify.cpp
{ block 'cmake_minimum_required' >/dev/null; } 2>CMakeLists.txt
"$build/fewshift" export --model fenet_cifar_0.5 --shift-sparsity 0.7 --out model.onnx >/dev/null
cp "$(find "$here/sample/clothing/test" -name '*.jpg' | sort | sed -n 1p)" photo.jpg
"$build/fewshift" predict model.onnx photo.jpg --top 3 --json |
  python3 -c "import json, sys; [print(c['name'], f\"{c['score']:.3f}\") for c in json.load(sys.stdin)['predictions'][0]['classes']]" >expected
cat expected
check() {
  "$@" model.onnx photo.jpg >got
  diff expected got && echo "same: $*"
}

export PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name fewshift.pc)")
lib=$(dirname "$PKG_CONFIG_PATH")
cc -std=c99 -pedantic -Wall -Wextra -Werror classify.c -o classify-c $(pkg-config --cflags --libs fewshift) "-Wl,-rpath,$lib"
check ./classify-c
cc -std=c99 classify.c -o classify-c-static $(pkg-config --cflags fewshift) "$lib/libfewshift.a" $(pkg-config --static --libs-only-l fewshift | sed 's/-lfewshift//')
check ./classify-c-static
c++ -std=c++17 -pedantic -Wall -Wextra -Werror classify.cpp -o classify-cpp $(pkg-config --cflags --libs fewshift) "-Wl,-rpath,$lib"
check ./classify-cpp
cmake -S . -B out -DCMAKE_PREFIX_PATH="$work/prefix" >cmake.log || { cat cmake.log; exit 1; }
cmake --build out >>cmake.log || { cat cmake.log; exit 1; }
check out/classify
sed -i 's/fewshift::fewshift)/fewshift::fewshift_static)/' CMakeLists.txt
cmake -S . -B out >>cmake.log && cmake --build out >>cmake.log || { cat cmake.log; exit 1; }
check out/classify
if readelf -d out/classify | grep -q fewshift; then echo "the static one is not"; exit 1; fi

# Nothing but the interface is to be seen, and no LibTorch is needed.
library=$(readlink -f "$lib/libfewshift.so")
if nm -D --defined-only "$library" | awk '{print $NF}' | grep -v -E '^(fewshift_|FEWSHIFT_)'; then exit 1; fi
nm -D --defined-only "$library" | grep -c fewshift_
if ldd "$library" | grep -i -E "torch|gomp"; then exit 1; fi
if ./classify-c nowhere.onnx photo.jpg 2>error; then exit 1; fi
grep -q nowhere.onnx error
