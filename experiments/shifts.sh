#!/usr/bin/env bash
# Do learned shifts beat random ones? The runs behind docs/results.md: shiftresnet20_e3 on 10,000 images of CIFAR-10.
# usage: experiments/shifts.sh DATA OUT [NAME...]   DATA: image folder, 10,000 images in train/, all 10,000 in test/
# One thread a run, so that two run side by side; a run that is there already is resumed.
set -euo pipefail
data=$1 out=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
fewshift=${FEWSHIFT:-$here/../build/release/fewshift}
common=(--recipe "$here/shifts.toml" --data "$data" --threads 1)

train() {  # NAME OPTIONS...
  local name=$1
  shift
  if [ -e "$out/$name/config.toml" ]; then
    "$fewshift" train --resume --out "$out/$name"
  else
    "$fewshift" train "${common[@]}" --out "$out/$name" "$@"
  fi
  "$fewshift" eval "$out/$name" --data "$data" --threads 1 --json | tee "$out/$name/test.json"
}

one() {
  case $1 in
    learned-[0-9]) train "$1" --seed "${1#*-}" ;;
    random-[0-9])
      until [ -e "$out/learned-${1#*-}/test.json" ]; do sleep 5; done  # may still be on its way, side by side
      train "$1" --seed "${1#*-}" --shift random --shift-from "$out/learned-${1#*-}"
      ;;
    wide-1) train "$1" --seed 1 --set shift.reach=2.5 ;;
    still-1) train "$1" --seed 1 --set shift.rate=0 ;;
    fast-1) train "$1" --seed 1 --set shift.rate=0.03 ;;
    penalty-1) train "$1" --seed 1 --shift-penalty "${PENALTY:-0.5}" --set shift.penalty_ramp=0.3 ;;
    dense-1) train "$1" --seed 1 --set shift.sparsity=-1 ;;
    *) echo "shifts.sh: no experiment $1" >&2; exit 2 ;;
  esac
}

mkdir -p "$out"
for name in "$@"; do one "$name" 2>&1 | tee "$out/$name.log"; done
