#!/usr/bin/env bash
# The rows of the miniature's table: each makes what it needs, and nothing that is there is made again. So it can be
# stopped at any time, run again, and made in pieces.
#
#   scripts/miniature.sh                     all primary rows, seeds 0, 1 and 2
#   SEEDS=0 scripts/miniature.sh base sft    these rows of one seed
#   scripts/miniature.sh --list              all rows
#   WORK=runs/mine RESULTS=runs/mine/results scripts/miniature.sh base simple sft
#                                            a change of yours: what is committed is not made again, so elsewhere
#
# What is worked on lies in runs/miniature/SEED/ (a student, runs, trainings, evaluations), results in
# docs/miniature/results/, one small file a row and seed, of which `lpt miniature table` makes the table.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" TOKENIZERS_PARALLELISM=false

SEEDS=${SEEDS:-0 1 2}
SIZE=${SIZE:-full}                      # tiny: every step for real, in minutes, on a student that knows nothing
WORK=${WORK:-runs/miniature}
RESULTS=${RESULTS:-docs/miniature/results}
BENCH=${BENCH:-boards-bench}
BOARDS=${BOARDS:-400}
THREADS=${THREADS:-2}                   # of everything: 1 where several seeds are made at once
SFT=${SFT:-}                            # further --set of the trainings
export OMP_NUM_THREADS=$THREADS
PRIMARY="base simple captions sft dpo scratch"
FURTHER="blank cot direct simple-examples captions-examples simple-2400 captions-2400 boards-150 boards-2400
  sft-again sft-longer fewer-options cue-none cue-wait cue-hmm cue-alternatively lenient strict prefix-loss
  dpo-longer dpo-without-mended dpo-compact"

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

student() {                             # the student of a seed
  local out=$WORK/$1/student
  [ -f "$out/build.json" ] && return
  say "seed $1: a student"
  lpt miniature build --out "$out" --seed "$1" --size "$SIZE" --threads "$THREADS" >&2
}

served() { printf '"lpt serve %s --name miniature --port {port}"' "$1"; }

run() {                                 # run SEED NAME [--set …]: the pipeline with the seed's student. All runs of a
                                        # seed share a ledger: what was asked before is not asked again
  local seed=$1 name=$2 out=$WORK/$1/$2
  shift 2
  [ -f "$out.done" ] && return
  student "$seed"
  say "seed $seed: the run $name"
  lpt run recipes/miniature.toml --out "$out" --set seed="$seed" --set captions.count="$BOARDS" \
    --set ledger="\"$(realpath "$WORK/$seed")/ledger.sqlite\"" \
    --set models.student.launch="$(served "$WORK/$seed/student")" "$@" >&2
  touch "$out.done"
}

train() {                               # train SEED NAME sft|dpo SOURCE MODEL [--set …]
  local seed=$1 name=$2 stage=$3 source=$4 model=$5 out=$WORK/$1/$2
  shift 5
  [ -f "$out/model/config.json" ] && [ -f "$out.json" ] && return
  say "seed $seed: training $name"
  rm -rf "$out"
  # shellcheck disable=SC2086
  lpt train "$stage" "$source" --recipe "recipes/miniature/$stage.toml" --model "$model" --out "$out" --json \
    --set seed="$seed" $SFT "$@" > "$out.json.part"
  mv "$out.json.part" "$out.json"
}

evaluate() {                            # evaluate SEED ROW MODEL [PROTOCOL [BENCHMARK]]
  local seed=$1 row=$2 model=$3 protocol=${4:-trained} bench=${5:-$BENCH}
  local out=$WORK/$seed/eval/$row
  [ -f "$RESULTS/$row-$seed.json" ] && return
  say "seed $seed: examining $row"
  lpt eval run --model "$row" --launch "lpt serve $model --name $row --port {port}" --benchmarks "$bench" \
    --protocol "$protocol" $([ "$protocol" = trained ] && echo --recipe recipes/miniature.toml) \
    --max-tokens 160 --out "$out" --json > /dev/null
  lpt miniature note "$out" --row "$row" --seed "$seed" --out "$RESULTS" \
    $([ -f "$WORK/$seed/$row.json" ] && echo --training "$WORK/$seed/$row.json") >&2
}

trained() {                             # trained SEED ROW SOURCE [--set …]: SFT of the student, and examine it
  local seed=$1 row=$2 source=$3
  shift 3
  train "$seed" "$row" sft "$source" "$WORK/$seed/student" "$@"
  evaluate "$seed" "$row" "$WORK/$seed/$row/model"
}

preferred() {                           # preferred SEED ROW SOURCE [--set …]: DPO from the SFT model, and examine it
  local seed=$1 row=$2 source=$3
  shift 3
  row "$seed" sft
  train "$seed" "$row" dpo "$source" "$WORK/$seed/sft/model" "$@"
  evaluate "$seed" "$row" "$WORK/$seed/$row/model"
}

controlled() {                          # controlled SEED ROW SET RUN [--set …]: on another set of a run, in place of long
  local seed=$1 row=$2 set=$3 run=$4    # thoughts
  shift 4
  trained "$seed" "$row" "$WORK/$seed/$run" --set data.set="$set" \
    $([ "$set" = captions ] && echo "--set data.answers=false") "$@"
}

again() {                               # again SEED ROW [--set …]: as sft, trained otherwise
  local seed=$1 row=$2
  shift 2
  run "$seed" run
  trained "$seed" "$row" "$WORK/$seed/run" "$@"
}

remade() {                              # remade SEED ROW [--set …]: as sft, on a run that was made otherwise
  local seed=$1 row=$2
  shift 2
  run "$seed" "$row-run" "$@"
  trained "$seed" "$row" "$WORK/$seed/$row-run"
}

steps() { python -c 'import json, sys; print(json.load(open(sys.argv[1]))["trained"]["steps"])' "$1"; }

exported() {                            # exported SEED NAME CHANGE: the run's sets with one thing changed
  local folder=$WORK/$1/$2-sets
  run "$1" run
  [ -d "$folder" ] && return
  rm -rf "$folder.whole" "$folder.part"
  lpt export "$WORK/$1/run" --to trl --template "$WORK/$1/student" --out "$folder.whole" >&2
  python scripts/miniature_sets.py "$3" "$folder.whole" "$folder.part"
  mv "$folder.part" "$folder"
}

row() {                                 # row SEED ROW
  local seed=$1 row=$2
  [ -f "$RESULTS/$row-$seed.json" ] && { [ "$row" != sft ] || [ -f "$WORK/$seed/sft/model/config.json" ]; } && return
  student "$seed"
  case $row in
    base) evaluate "$seed" base "$WORK/$seed/student" ;;
    blank) evaluate "$seed" blank "$WORK/$seed/student" trained boards-bench-blank ;;
    cot) evaluate "$seed" cot "$WORK/$seed/student" paper ;;
    simple|direct|captions) run "$seed" run; controlled "$seed" "$row" "$row" run ;;
    *-examples) row "$seed" sft         # as many examples, where the others have as many tokens
      controlled "$seed" "$row" "${row%-examples}" run \
        --set optimizer.max_steps="$(steps "$WORK/$seed/sft.json")" ;;
    simple-*|captions-*) local count=${row#*-}  # as many tokens, of more boards: fewer times through each text
      BOARDS=$count run "$seed" "boards-$count-run"; controlled "$seed" "$row" "${row%-*}" "boards-$count-run" ;;
    sft) again "$seed" sft ;;
    sft-longer) again "$seed" "$row" --set optimizer.tokens=6_000_000 ;;
    sft-again) again "$seed" "$row" --set seed=$((seed + 100)) ;;
    dpo) preferred "$seed" dpo "$WORK/$seed/run" ;;
    scratch) remade "$seed" "$row" --set think_harder.prefix='"none"' ;;
    cue-none) remade "$seed" "$row" --set think_harder.cues='[""]' ;;
    cue-*) local cue=${row#cue-}; remade "$seed" "$row" --set think_harder.cues="[\"${cue^},\"]" ;;
    dpo-longer) run "$seed" run; preferred "$seed" "$row" "$WORK/$seed/run" --set optimizer.tokens=1_800_000 ;;
    dpo-without-mended) exported "$seed" "$row" without-mended; preferred "$seed" "$row" "$WORK/$seed/$row-sets" ;;
    dpo-compact) run "$seed" "$row-run" --set curate.compactness=true
      preferred "$seed" "$row" "$WORK/$seed/$row-run" ;;
    boards-*) BOARDS=${row#boards-} remade "$seed" "$row" ;;
    fewer-options) remade "$seed" "$row" --set think.fewest_options=2 ;;
    strict) remade "$seed" "$row" --set curate.similarity=0.95 --set curate.filters='["unfinished", "markup",
      "leak", "prompt_leak", "too_short", "too_long", "language", "repetition", "blind", "contaminated", "near_duplicate"]' ;;
    lenient) remade "$seed" "$row" --set curate.filters='["unfinished"]' ;;
    prefix-loss) exported "$seed" "$row" unmask; trained "$seed" "$row" "$WORK/$seed/$row-sets" ;;
    *) say "there is no row $row: $0 --list"; exit 2 ;;
  esac
}

if [ "${1:-}" = --list ]; then
  echo "primary: $PRIMARY"
  echo "further: " $FURTHER
  exit
fi
for seed in $SEEDS; do
  for each in ${*:-$PRIMARY}; do
    row "$seed" "$each"
  done
done
lpt miniature table "$RESULTS"
