#!/usr/bin/env bash
# The wheel, in a Python that has numpy, Pillow and mypy and nothing else, with no compiler on the path.
# usage: wheel_test.sh BUILD [PYTHON]    (BUILD: whose program exports the models; PYTHON: one with torch, for the tour)
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
"$out/venv/bin/python" -m pip install -q --disable-pip-version-check pillow mypy "$out"/wheels/*.whl
"$build/fewshift" export --model fenet_cifar_0.5 --shift-sparsity 0.7 --out "$out/model.onnx" >/dev/null
cd "$out"
env -i PATH=/nowhere "$out/venv/bin/python" "$here/tests/python_test.py" "$out/model.onnx" "$here" "$build/fewshift"

# The tour, where there is PyTorch: what is trained here, in Python.
torch_python=${2:-}
[ -n "$torch_python" ] || exit 0
export OMP_WAIT_POLICY=passive
rm -rf "$out/run" "$out/site"
"$build/fewshift" train --model shiftresnet20_e1 --size 16 --data "$here/sample/clothing" --epochs 1 --out "$out/run" >/dev/null 2>&1
"$torch_python" -m pip install -q --disable-pip-version-check --no-deps --target "$out/site" "$out"/wheels/*.whl
PYTHONPATH="$out/site" FEWSHIFT_TORCH_LIBRARY="$build/libfewshift_torch.so" "$torch_python" -W ignore "$here/examples/python/tour.py" \
  "$out/run" "$here/sample/clothing/train" "$build/fewshift"
