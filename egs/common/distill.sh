#!/usr/bin/env bash
# The stages of every recipe; called by run.sh from the recipe's directory.
# Each stage skips what is done and continues what was killed. Thinking is Python; this sequences.
set -euo pipefail

help_message="Usage: ./run.sh [options]
  --stage N --stop_stage N   1 data, 2 prepare, 3 teachers, 4 dump, 5 pretrain, 6 train, 7 decode, 8 score
  --experiments NAMES        which lines of conf/experiments (comma-separated); 'all' for every one
  --teachers NAMES           which files of conf/teacher to dump, separated by spaces
  --seeds LIST               comma-separated
  --nj N                     processes at a time
  --ngpu N                   GPUs a training
  --baseline NAME            what the others are compared with
  --decode_opts OPTIONS      for distill-asr decode, such as '--beam-size 10'
  --teacher_opts OPTIONS     for distill-asr dump, such as '--device cuda'
  --corpus NAME              for distill-asr corpus
  --local_data_opts OPTIONS  for distill-asr corpus
  --train_teachers true      train the teachers here instead of taking those in teachers/"

stage=1
stop_stage=8
experiments=all
seeds=1
nj=2
ngpu=0
baseline=baseline
decode_opts="--beam-size 4"
teacher_opts=
experiments_file=conf/experiments
corpus=                 # for distill-asr corpus: a name, or the dotted path of your own
local_data_opts=
prepare_opts=           # for distill-asr prepare; LANG stands for a set's name up to its first _
fs=16000
train_sets="train"      # with transcripts
unlabelled_sets=        # audio only
valid_set=dev           # or several
test_sets=
teacher_sets=           # for training the recipe's own teachers: training set, dev set; none: no own
train_teachers=false
teachers=               # names; conf/teacher/<name>.yaml says what to dump
text_teachers=          # likewise; they read the transcripts of train_sets
recogniser=             # conf/<name>.yaml is trained, conf/teacher/<name>.yaml dumped, where an experiment asks for it
pseudo_opts=            # for distill-asr pseudo-label, which makes dump/<unlabelled set>_pseudo
token_type=char
token_list=dump/tokens.txt
tokenizer=              # of token_type hugging_face: a text model's hub id or directory
vocab_size=             # of token type bpe
bpe_model=dump/bpe.model

common=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$common/parse_options.sh"
. "$common/cmd.sh" # keeps what run.sh has set
export train_cmd decode_cmd valid_set test_sets decode_opts ngpu common

log() { echo "$(date '+%H:%M:%S') $*" >&2; }
at() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }

# experiments that were asked for: "name stage-1-config stage-1-sets stage-2-config options"
chosen() {
    grep -v '^ *#' "$experiments_file" | while read -r line; do
        name=${line%% *}
        if [ -n "$name" ] && { [ "$experiments" = all ] || [[ ",$experiments," == *",$name,"* ]]; }; then
            echo "$line"
        fi
    done
}
for name in ${experiments//,/ }; do
    if [ "$name" != all ] && ! grep -q "^$name " "$experiments_file"; then
        log "no experiment '$name' in $experiments_file: $(grep -v '^ *#' "$experiments_file" | cut -d' ' -f1 | tr '\n' ' ')"
        exit 1
    fi
done
# whether an experiment learns from the recogniser's paths or pseudo-labels
needs_recogniser() {
    [ -n "$recogniser" ] || return 1
    ! chosen | grep -q "_pseudo" || return 0
    # shellcheck disable=SC2046
    distill-asr validate --teachers $(chosen | while read -r _ _ _ config _; do echo "conf/$config.yaml"; done) |
        grep -qx "$recogniser"
}
pseudo_sets() { for set in $unlabelled_sets; do printf '%s ' "${set}_pseudo"; done; }
jobs_of() { chosen | while read -r line; do for s in ${seeds//,/ }; do echo "$s $line"; done; done; }
# run a function over the jobs, nj at a time; xargs fails if any of them does
each() { jobs_of | xargs -P "$nj" -L 1 bash -c "set -euo pipefail; $1 \"\$@\"" "$1"; }

# shellcheck source=/dev/null
. "$common/jobs.sh"

if at 1; then
    log "stage 1: data"
    # shellcheck disable=SC2086
    distill-asr corpus "$corpus" --out data $local_data_opts
fi

if at 2; then
    log "stage 2: prepare"
    for set in $train_sets $unlabelled_sets $valid_set $test_sets; do
        # shellcheck disable=SC2086
        distill-asr prepare "data/$set" "dump/$set" --fs "$fs" --nj "$nj" ${prepare_opts//LANG/${set%%_*}}
    done
    texts=()
    for set in $train_sets; do texts+=("dump/$set/text"); done
    first=${train_sets%% *}
    unit_opts=()
    [ "$token_type" != bpe ] || unit_opts=(--vocab-size "$vocab_size" --bpe-model "$bpe_model")
    [ -z "$tokenizer" ] || unit_opts=(--tokenizer "$tokenizer")
    # shellcheck disable=SC2086
    distill-asr prepare "data/$first" "dump/$first" --fs "$fs" --nj "$nj" ${prepare_opts//LANG/${first%%_*}} \
        --tokens "$token_type" --token-list "$token_list" "${unit_opts[@]}" --text "${texts[@]}"
fi

if at 3 && [ -n "$teacher_sets" ]; then
    log "stage 3: teachers"
    for teacher in $teachers; do
        if [ "$train_teachers" = false ] && [ -d "teachers/$teacher" ] && [ ! -d "exp/teachers/$teacher" ]; then
            mkdir -p exp/teachers
            rm -rf "exp/teachers/.$teacher.tmp"
            cp -r "teachers/$teacher" "exp/teachers/.$teacher.tmp"
            mv "exp/teachers/.$teacher.tmp" "exp/teachers/$teacher"
        fi
    done
    # only scores those that are trained already
    # shellcheck disable=SC2086
    printf '%s\n' $teachers | xargs -P "$nj" -I{} bash -c "set -euo pipefail; train_teacher {} $teacher_sets"
fi

if at 3 && needs_recogniser; then
    log "stage 3: recogniser"
    train_recogniser
fi

if at 4; then
    log "stage 4: dump"
    # shellcheck disable=SC2086
    for teacher in $teachers; do
        dump_one "$teacher" $train_sets $unlabelled_sets $valid_set
    done
    # shellcheck disable=SC2086
    for teacher in $text_teachers; do
        dump_one "$teacher" $train_sets
    done
    # shellcheck disable=SC2046,SC2086
    ! needs_recogniser || dump_one "$recogniser" $train_sets $(pseudo_sets)
fi

if at 5 && at 6; then
    log "stages 5 and 6: pretrain, train"
    each pretrain_then_train
elif at 5; then
    log "stage 5: pretrain"
    each pretrain_one
elif at 6; then
    log "stage 6: train"
    each train_one
fi

if at 7; then
    log "stage 7: decode"
    each decode_one
fi

if at 8; then
    log "stage 8: score"
    names=$(chosen | cut -d' ' -f1 | paste -sd,)
    distill-asr score --exp exp --dump dump --systems "$names" --seeds "$seeds" \
        --sets "${test_sets// /,}" --baseline "$baseline" --out exp/RESULTS.md
    if needs_recogniser; then
        distill-asr score --exp exp --dump dump --systems "$recogniser" --seeds 1 \
            --sets "${test_sets// /,}" --baseline "$recogniser" --out "exp/${recogniser}_seed1/RESULTS.md"
    fi
    [ -n "$teacher_sets" ] || exit 0
    for teacher in $teachers; do # the ceiling: what the teachers reach by themselves
        [ -f "conf/teacher_$teacher.yaml" ] || continue
        # shellcheck disable=SC2086
        train_teacher "$teacher" $teacher_sets 2> /dev/null | grep -E "WER|masked"
    done
fi
