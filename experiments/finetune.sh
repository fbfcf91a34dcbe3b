#!/usr/bin/env bash
# Does a network trained on other pictures help? fenet_0.5 at 128 px: thirty (EPOCHS) epochs of Imagenette, then five of clothing from
# there, by the same recipe and by one for few epochs, and beside it twenty of clothing from nothing. The runs behind docs/results.md.
# usage: experiments/finetune.sh IMAGENETTE CLOTHING OUT
set -euo pipefail
imagenette=$1 clothing=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
fewshift=${FEWSHIFT:-$here/../build/release/fewshift}
common=(--model fenet_0.5 --size 128 --lr 0.05 --set train.norm_pictures=0 --threads "${THREADS:-1}")

train() {  # NAME OPTIONS...
  local name=$1
  shift
  [ ! -e "$out/$name/test.json" ] || return 0
  if [ -e "$out/$name/config.toml" ]; then
    "$fewshift" train --resume --out "$out/$name"
  else
    "$fewshift" train "${common[@]}" --out "$out/$name" "$@"
  fi
  local data=$clothing
  [ "$name" != imagenette ] || data=$imagenette
  "$fewshift" eval "$out/$name" --data "$data" --json | tee "$out/$name/test.json"
}

mkdir -p "$out"
train imagenette --data "$imagenette" --epochs "${EPOCHS:-30}" --seed 1 --batch 32
for seed in ${SEEDS:-1 2 3}; do
  train "tuned-$seed" --data "$clothing" --epochs 5 --init "$out/imagenette" --seed "$seed" --batch 32
  train "adapted-$seed" --data "$clothing" --epochs 5 --init "$out/imagenette" --seed "$seed" --batch 16 --ema 0.98 \
    --set data.scale_min=0.6 --set train.warmup_epochs=0.25 --set shift.init=learn
  train "nothing-$seed" --data "$clothing" --epochs 20 --seed "$seed" --batch 32
done
