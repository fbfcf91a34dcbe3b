#!/usr/bin/env bash
# A build without LibTorch predicts from an exported file, and links nothing of LibTorch's.
# usage: engine_only_test.sh BUILD    (a build with training, whose program exports)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
out=$1/engine-only
mkdir -p "$out"
# Not optimised: to be built quickly.
cmake -S "$here" -B "$out" -G Ninja -DCMAKE_BUILD_TYPE=None -DFEWSHIFT_TRAIN=OFF -DFEWSHIFT_TESTS=OFF >"$out.log" &&
  cmake --build "$out" --target fewshift >>"$out.log" || { tail -30 "$out.log"; exit 1; }
if ldd "$out/fewshift" | grep -i -E "torch|libc10|gomp"; then exit 1; fi
"$1/fewshift" export --model fenet_cifar_0.5 --shift-sparsity 0.7 --out "$out/network.onnx"
picture=$(find "$here/sample/clothing/test" -name '*.jpg' | sort | sed -n 1p)
"$out/fewshift" predict "$out/network.onnx" "$picture"
diff <("$1/fewshift" predict "$out/network.onnx" "$picture") <("$out/fewshift" predict "$out/network.onnx" "$picture")
if message=$("$out/fewshift" train --data "$here/sample/clothing" --out "$out/run" 2>&1); then exit 1; fi
grep -q LibTorch <<<"$message"
