#!/usr/bin/env bash
# The wheel, in a Python that has numpy and Pillow and nothing else, with no compiler on the path.
# usage: wheel_test.sh BUILD    (whose program exports the models)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
out=$build/wheel-test
mkdir -p "$out"
# Not optimised: to be built quickly.
"$here/scripts/wheel" "$out/wheels" -C cmake.build-type=None -C build-dir="$out/build" >"$out/wheel.log" 2>&1 ||
  { tail -30 "$out/wheel.log"; exit 1; }
rm -rf "$out/venv"
python3 -m venv "$out/venv"
"$out/venv/bin/python" -m pip install -q --disable-pip-version-check pillow "$out"/wheels/*.whl
"$build/fewshift" export --model fenet_cifar_0.5 --shift-sparsity 0.7 --out "$out/model.onnx" >/dev/null
cd "$out"
env -i PATH=/nowhere "$out/venv/bin/python" "$here/tests/python_test.py" "$out/model.onnx" "$here" "$build/fewshift"
