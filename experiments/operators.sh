#!/usr/bin/env bash
# Which spatial operator, in one body under one recipe, and which network at 32 px? The runs behind docs/results.md.
# usage: experiments/operators.sh DATA OUT [NAME...]   DATA: image folder, 10,000 images in train/, all 10,000 in test/
# NAME: OPERATOR-SEED (ssl-1, asl-1, gsl-1, random-1, depthwise-1 ...) or net-MODEL (net-fenet_cifar_0.5 ...). random
# takes the sparsity of each layer from ssl of its seed. One thread a run; start it twice, side by side, to use two
# cores: a name that another has taken is passed over. A run that was broken off is resumed, once its .taken is removed.
set -euo pipefail
data=$1 out=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
fewshift=${FEWSHIFT:-$here/../build/release/fewshift}

options() {  # NAME
  case $1 in
    net-*) echo "--model ${1#net-} --seed 1" ;;
    random-*)
      until [ -e "$out/ssl-${1#*-}/test.json" ]; do sleep 5; done  # may still be on its way, side by side
      echo "--shift random --shift-from $out/ssl-${1#*-} --seed ${1#*-}"
      ;;
    *-*) echo "--shift ${1%-*} --seed ${1#*-}" ;;
    *) echo "operators.sh: no experiment $1" >&2; return 2 ;;
  esac
}

one() {  # NAME
  local chosen
  if [ -e "$out/$1/config.toml" ]; then
    "$fewshift" train --resume --out "$out/$1"
  else
    chosen=$(options "$1")
    # shellcheck disable=SC2086
    "$fewshift" train --recipe "$here/operators.toml" --data "$data" --threads 1 --out "$out/$1" $chosen
  fi
  "$fewshift" eval "$out/$1" --data "$data" --threads 1 --json | tee "$out/$1/test.json"
}

mkdir -p "$out"
for name in "$@"; do
  if [ -e "$out/$name/test.json" ] || ! mkdir "$out/$name.taken" 2>/dev/null; then continue; fi
  one "$name" 2>&1 | tee "$out/$name.log"
done
