#!/usr/bin/env bash
# Every recipe that needs no corpus from elsewhere, end to end through its own run.sh on a miniature:
# all stages, a few updates, a table; then once more, to see that nothing is left to do. Two recipes
# at a time, each with one process of one thread. human_multilingual only where it is named.
#
#     tools/smoke_recipes.sh [RECIPE ...]
#
# Runs in a copy under a temporary folder (SMOKE_DIR=... to keep it). fsdd where its recordings lie:
# FSDD=..., or ../shared/data/fsdd/recordings beside the checkout.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ $# -eq 0 ]; then set -- mini mini_homophones mini_multilingual fsdd human; fi
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

options() { # recipe: what makes it a miniature, a word a line
    case $1 in
        mini) words --systems baseline,two_teachers_path --corpus_opts "--utterances 6" \
            --train_set "$updates" --decode_opts "--method greedy" ;;
        mini_homophones) words --systems baseline,both --corpus_opts "--utterances 8" \
            --train_set "$updates" --teacher_set "$small" --decode_opts "--method greedy" ;;
        mini_multilingual) words --languages ka --candidates aligned \
            --corpus_opts "--utterances 4" --train_set "$updates" --teacher_set "$small" --train_teachers true ;;
        fsdd) words --systems baseline,one_teacher --corpus_opts "--utterances 10" \
            --train_set "$updates" --teacher_set "$small" --decode_opts "--method greedy" ;;
        human) words --systems baseline,whisper_unlab --token_opts "--vocab-size 30 --bpe-model dump/bpe.model" \
            --train_set "$updates" --decode_opts "--method greedy" ;;
        human_multilingual) words --joint true --languages "ru es" --candidates aligned --train_set "$updates" ;;
        *) echo "$0: no miniature of '$1'" >&2; return 1 ;;
    esac
}
words() { printf '%s\n' "$@"; }
recordings() { # folder: a small tree of packages and a tiny Whisper for the recipe human
    python3 -m distill_asr.testing.human "$1" > /dev/null 2>&1
    export HUMAN_PACKAGES=$1/packages GCOMPRIS_VOICES=$1/gcompris MODELS=$1/models FSDD='' SPEECH_TO_INTENT=''
    export HUMAN_LANG=ru HUMAN_CORPUS="--minutes 0.3 --dev-minutes 0.1 --test-minutes 0.1"
}

smoke() { # recipe: both runs; says what went wrong
    local recipe=$1 tree=$place/$1 log=$place/$1.log table turn start
    local -a given
    readarray -t given < <(options "$recipe")
    table=$tree/egs/$recipe/asr1/exp/RESULTS.md
    [ "$recipe" != mini_multilingual ] || table=${table%RESULTS.md}REPORT_aligned_over_random.md
    case $recipe in
        human) recordings "$place/human_tree"; table=${table/asr1/asr1/langs/ru} ;;
        human_multilingual)
            recordings "$place/human_multilingual_tree"; table=${table%RESULTS.md}REPORT_joint_aligned_over_random.md
            export HUMAN_CORPUS="--least-minutes 0.1" ;;
    esac
    mkdir -p "$tree"
    tar -c -C "$root" --exclude=data --exclude=dump --exclude=exp --exclude=langs --exclude=downloads conf egs |
        tar -x -C "$tree"
    for turn in first second; do
        start=$SECONDS
        if ! bash "$tree/egs/$recipe/asr1/run.sh" --nj 1 "${given[@]}" > "$log.$turn" 2>&1; then
            echo "$recipe: the $turn run fails:"
            tail -n 30 "$log.$turn"
            return 1
        fi
        echo "$recipe: $turn run, $((SECONDS - start)) s"
        cp "$table" "$log.$turn.table"
    done
    cmp "$log.first.table" "$log.second.table" || return 1
    if grep -E ": [0-9]+ s; " "$log.second" | grep -vE "already|trained before|skipped|WER|fills"; then
        echo "$recipe: this was done again in the second run"
        return 1
    fi
    head -n 5 "$table"
}

chosen=()
for recipe in "$@"; do
    options "$recipe" > /dev/null
    if [ "$recipe" = fsdd ] && [ ! -d "$FSDD" ]; then
        echo "fsdd: no recordings, left out"
    else
        chosen+=("$recipe")
    fi
done
for recipe in "${chosen[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n || true; done
    (smoke "$recipe" && touch "$place/$recipe.passed") &
done
wait
for recipe in "${chosen[@]}"; do
    [ -e "$place/$recipe.passed" ] || exit 1
done
