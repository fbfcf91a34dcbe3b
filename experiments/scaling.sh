#!/usr/bin/env bash
# Images/s of training by 1, 2 and 4 processes on this machine, taking turns: experiments/scaling.sh DATA OUT [ROUNDS]
# DATA: an image folder. Needs scripts/setup. Prints images/s of the last epoch of each run, and what a step adds up.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?an image folder} out=${2:?a folder for the runs} rounds=${3:-5}
export OMP_WAIT_POLICY=passive
run() {  # NAME PROCESSES THREADS OPTIONS...
  local name=$1 processes=$2 threads=$3 launcher=()
  shift 3
  [ "$processes" = 1 ] || launcher=(build/venv/bin/torchrun --standalone --no-python --nproc-per-node "$processes")
  rm -rf "$out/$name"
  OMP_NUM_THREADS=$threads "${launcher[@]}" build/release/fewshift train --data "$data" --out "$out/$name" --threads "$threads" \
    --epochs 2 --seed 1 --set data.val_share=0 --set data.workers=1 "$@" 2>/dev/null
  echo "$name $(tail -1 "$out/$name/metrics.jsonl" | sed 's/.*"images_per_s":\([0-9.]*\).*/\1/') $(sed -n 's/^a step adds up //p' "$out/$name/log.txt")"
}
mkdir -p "$out"
for ((k = 0; k < rounds; ++k)); do
  for model in "fenet_0.5 --size 128 --batch 64" "shiftresnet20_e6 --size 32 --batch 128"; do
    # shellcheck disable=SC2086
    {
      set -- $model
      run "$1-1x1" 1 1 --model $model
      run "$1-1x2" 1 2 --model $model
      run "$1-2x1" 2 1 --model $model
      run "$1-2x1-epoch" 2 1 --model $model --set train.sync_norm=epoch
      run "$1-4x1" 4 1 --model $model
    }
  done
done
