#!/usr/bin/env bash
# Do the fused operators train as the plain ones do? The runs behind docs/results.md: shiftresnet20_e6 on 10,000 images
# of CIFAR-10.
# usage: experiments/fused.sh DATA OUT NAME...   DATA: image folder, 10,000 images in train/, all 10,000 in test/
# NAME: fused-SEED, bf16-SEED (hidden activations kept in bfloat16), products-SEED (products of bfloat16s too) or plain-SEED.
# One after the other, on all cores; a run that was broken off is resumed.
set -euo pipefail
data=$1 out=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
fewshift=${FEWSHIFT:-$here/../build/release/fewshift}
export OMP_WAIT_POLICY=passive

one() {  # NAME
  local fused=on hidden=recompute precision=float32
  case $1 in
    fused-*) ;;
    bf16-*) hidden=bf16 ;;
    products-*) hidden=bf16 precision=bf16 ;;
    plain-*) fused=off ;;
    *) echo "fused.sh: no experiment $1" >&2; return 2 ;;
  esac
  if [ -e "$out/$1/config.toml" ]; then
    "$fewshift" train --resume --out "$out/$1"
  else
    "$fewshift" train --recipe "$here/fused.toml" --data "$data" --out "$out/$1" --fused $fused --hidden $hidden --precision $precision --seed "${1#*-}"
  fi
  "$fewshift" eval "$out/$1" --data "$data" --json | tee "$out/$1/test.json"
}

mkdir -p "$out"
for name in "$@"; do
  if [ ! -e "$out/$name/test.json" ]; then one "$name" 2>&1 | tee "$out/$name.log"; fi
done
