#!/usr/bin/env bash
# Every recipe that needs no corpus from elsewhere, end to end through its own run.sh on a miniature:
# all stages, a few updates, a table; then once more, to see that nothing is left to do.
#
#     tools/smoke_recipes.sh [RECIPE ...]
#
# Runs in a copy under a temporary folder (SMOKE_DIR=... to keep it). fsdd where its recordings lie:
# FSDD=..., or ../shared/data/fsdd/recordings beside the checkout.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ $# -eq 0 ]; then set -- mini mini_homophones mini_multilingual fsdd; fi
if [ -z "${FSDD:-}" ] && [ -d "$root/../shared/data/fsdd/recordings" ]; then
    FSDD=$root/../shared/data/fsdd/recordings
fi
export FSDD=${FSDD:-}
place=${SMOKE_DIR:-$(mktemp -d)}
if [ -z "${SMOKE_DIR:-}" ]; then trap 'rm -rf "$place"' EXIT; fi
if [ -d "$root/.venv/bin" ]; then export PATH=$root/.venv/bin:$PATH; fi
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}

updates="--set max_epoch=1 --set num_iters_per_epoch=2 --set keep_nbest_models=1 --set num_workers=0"
small="--set training.max_steps=2"

smoke() { # recipe table options...
    local recipe=$1 tree=$place/$1 log=$place/$1.log
    local table=$tree/egs/$1/asr1/$2
    shift 2
    mkdir -p "$tree"
    tar -c -C "$root" --exclude=data --exclude=dump --exclude=exp --exclude=langs --exclude=downloads conf egs |
        tar -x -C "$tree"
    for turn in first second; do
        start=$SECONDS
        if ! bash "$tree/egs/$recipe/asr1/run.sh" "$@" > "$log.$turn" 2>&1; then
            echo "$recipe: the $turn run fails:"
            tail -n 30 "$log.$turn"
            exit 1
        fi
        echo "$recipe: $turn run, $((SECONDS - start)) s"
        cp "$table" "$log.$turn.table"
    done
    cmp "$log.first.table" "$log.second.table"
    if grep -E ": [0-9]+ s; " "$log.second" | grep -vE "already|trained before|skipped|WER|fills"; then
        echo "$recipe: this was done again in the second run"
        exit 1
    fi
    head -n 5 "$table"
}

for recipe in "$@"; do
    case $recipe in
        mini) smoke mini exp/RESULTS.md --systems baseline,two_teachers_path --corpus_opts "--utterances 6" \
            --train_set "$updates" --decode_opts "--method greedy" ;;
        mini_homophones) smoke mini_homophones exp/RESULTS.md --corpus_opts "--utterances 8" \
            --train_set "$updates" --teacher_set "$small" --decode_opts "--method greedy" ;;
        mini_multilingual) smoke mini_multilingual exp/REPORT.md --languages "ka ta" --candidates l2s_0.5 \
            --corpus_opts "--utterances 4" --train_set "$updates" --teacher_set "$small" ;;
        fsdd)
            [ -d "$FSDD" ] || { echo "fsdd: no recordings, left out"; continue; }
            smoke fsdd exp/RESULTS.md --systems baseline,two_teachers --corpus_opts "--utterances 10" \
                --train_set "$updates" --teacher_set "$small" --decode_opts "--method greedy" ;;
        *) echo "$0: no miniature of '$recipe'" >&2; exit 1 ;;
    esac
done
