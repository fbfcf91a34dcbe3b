#!/usr/bin/env bash
# The default recipe against settings tried by hand, on small sets of one's own pictures: fenet_0.5 from nothing, thirty
# epochs. Rows go to OUT/SET/SETTING-SEED; the best by hand is chosen on val, and test is looked at by `eval` alone, once all
# choices are made. The runs behind docs/results.md.
# usage: experiments/defaults.sh SETS OUT RUN...     RUN: SET:SETTING:SEED; SETS/SET holds train/, val/ and test/
#        JOBS=2: so many at a time, each of one thread; TEST=1: also measures on test/
set -euo pipefail
sets=$1 out=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
export fewshift=${FEWSHIFT:-$here/../build/release/fewshift} sets out test=${TEST:-}

declare -A sizes=([monkeys]=96 [intel]=96 [clothing]=64 [caltech]=64)  # px
declare -A settings=(
  [default]=""
  # By hand: what people try.
  [sgd-0.1]="--batch 64 --lr 0.1"
  [sgd-0.05]="--batch 64 --lr 0.05"
  [sgd-0.02]="--batch 64 --lr 0.02"
  [sgd-0.01]="--batch 64 --lr 0.01"
  [sgd-0.02-b32]="--batch 32 --lr 0.02"
  [sgd-0.01-b16]="--batch 16 --lr 0.01"
  [sgd-0.02-warm5]="--batch 32 --lr 0.02 --set train.warmup_epochs=5 --set train.label_smoothing=0.1"
  [adamw-0.001]="--batch 64 --optimiser adamw --lr 0.001"
  [adamw-0.002]="--batch 64 --optimiser adamw --lr 0.002"
  [adamw-0.001-b32]="--batch 32 --optimiser adamw --lr 0.001 --set train.label_smoothing=0.1"
)

one() {  # SET SETTING SEED SIZE OPTIONS
  local run=$out/$1/$2-$3
  if [ ! -e "$run/done" ]; then
    if [ -e "$run/config.toml" ]; then
      "$fewshift" train --resume --out "$run"
    else
      "$fewshift" train --model fenet_0.5 --size "$4" --epochs 30 --threads 1 --set data.workers=1 --data "$sets/$1" \
        --seed "$3" --out "$run" $5
    fi >/dev/null 2>"$run.log" || { echo "$1 $2 $3 failed: $(tail -1 "$run.log")"; return; }
    touch "$run/done"
  fi
  local val
  val=$(grep -o '"val_top1":[0-9.]*' "$run/metrics.jsonl" | sed 's/.*://' | sort -g | tail -1)
  [ -z "$test" ] || [ -e "$run/test.json" ] || "$fewshift" eval "$run" --data "$sets/$1" --threads 1 --json >"$run/test.json"
  echo "$1 $2 $3 val $val"
}
export -f one
for name in "$@"; do
  IFS=: read -r set setting seed <<<"$name"
  [ -n "${settings[$setting]+there}" ] || { echo "defaults: there is no setting $setting" >&2; exit 2; }
  mkdir -p "$out/$set"
  printf '%s\0' "$set" "$setting" "$seed" "${sizes[$set]:-128}" "${settings[$setting]}"
done | xargs -0 -n 5 -P "${JOBS:-2}" bash -c 'set -euo pipefail; one "$@"' one
