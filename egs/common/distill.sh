#!/usr/bin/env bash
# The stages of every recipe; called by run.sh from the recipe's directory.
# Each stage skips what is done and continues what was killed. Thinking is Python; this sequences.
set -euo pipefail

help_message="Usage: ./run.sh [options]
  --stage N --stop_stage N   1 data, 2 prepare, 3 teachers, 4 dump, 5 pretrain, 6 train, 7 decode, 8 score
  --experiments NAMES        which lines of conf/experiments (comma-separated); 'all' for every one
  --seeds LIST               comma-separated
  --nj N                     processes at a time
  --ngpu N                   GPUs a training
  --baseline NAME            what the others are compared with
  --decode_opts OPTIONS      for distill-asr decode, such as '--beam-size 10'
  --train_teachers true      train the teachers here instead of taking those in teachers/"

stage=1
stop_stage=8
experiments=all
seeds=1
nj=2
ngpu=0
baseline=baseline
decode_opts="--beam-size 4"
local_data_opts=
fs=16000
train_sets="train"      # with transcripts
unlabelled_sets=        # audio only
valid_set=dev
test_sets=
teacher_sets=           # for training the recipe's own teachers: training set, dev set
train_teachers=false
teacher_program=train_teacher.py # or train_text_teacher.py, whose teacher_sets are files in data/
teachers=               # names; conf/teacher/<name>.yaml says what to dump
token_type=char
tokenizer=              # of token_type hugging_face: a text model's hub id or directory

common=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$common/parse_options.sh"
. "$common/cmd.sh" # keeps what run.sh has set
export train_cmd decode_cmd valid_set test_sets decode_opts ngpu common

log() { echo "$(date '+%H:%M:%S') $*" >&2; }
at() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }

# experiments that were asked for: "name stage-1-config stage-1-sets stage-2-config options"
chosen() {
    grep -v '^ *#' conf/experiments | while read -r line; do
        name=${line%% *}
        if [ -n "$name" ] && { [ "$experiments" = all ] || [[ ",$experiments," == *",$name,"* ]]; }; then
            echo "$line"
        fi
    done
}
for name in ${experiments//,/ }; do
    if [ "$name" != all ] && ! grep -q "^$name " conf/experiments; then
        log "no experiment '$name' in conf/experiments: $(grep -v '^ *#' conf/experiments | cut -d' ' -f1 | tr '\n' ' ')"
        exit 1
    fi
done
jobs_of() { chosen | while read -r line; do for s in ${seeds//,/ }; do echo "$s $line"; done; done; }
# run a function over the jobs, nj at a time; xargs fails if any of them does
each() { jobs_of | xargs -P "$nj" -L 1 bash -c "set -euo pipefail; $1 \"\$@\"" "$1"; }

dump_opts() { for set in ${1//,/ }; do echo "--train dump/$set"; done; }
pretrain_one() { # seed name config sets
    local seed=$1 name=$2 config=$3 sets=$4
    [ "$config" != - ] || return 0
    mkdir -p exp
    # experiments that share their stage 1 share its training: the second waits, then finds it done
    # shellcheck disable=SC2046
    flock "exp/.${config}_${sets//,/_}_seed$seed.lock" $train_cmd distill-asr train --config "conf/$config.yaml" $(dump_opts "$sets") \
        --valid "dump/$valid_set" --set "seed=$seed" --set "ngpu=$ngpu" \
        --output "exp/${config}_${sets//,/_}_seed$seed"
}
train_one() { # seed name stage-1-config stage-1-sets config options...
    local seed=$1 name=$2 first=$3 sets=$4 config=$5
    shift 5
    local init=()
    [ "$first" = - ] || init=(--init "exp/${first}_${sets//,/_}_seed$seed")
    # shellcheck disable=SC2046
    $train_cmd distill-asr train --config "conf/$config.yaml" $(dump_opts "$train_sets") \
        --valid "dump/$valid_set" --set "seed=$seed" --set "ngpu=$ngpu" "${init[@]}" "$@" \
        --output "exp/${name}_seed$seed"
}
train_teacher() { # name training-set dev-set
    local set tests=()
    for set in $test_sets; do tests+=(--test "dump/$set"); done
    $train_cmd python3 "$common/$teacher_program" --config "conf/teacher_$1.yaml" \
        --train "data/$2" --dev "data/$3" "${tests[@]}" --output "exp/teachers/$1"
}
pretrain_then_train() {
    pretrain_one "$@"
    train_one "$@"
}
decode_one() { # seed name ...
    local set
    for set in $test_sets; do
        # shellcheck disable=SC2086
        $decode_cmd distill-asr decode --exp "exp/$2_seed$1" --data "dump/$set" $decode_opts
    done
}
export -f dump_opts pretrain_one train_one pretrain_then_train decode_one train_teacher
export train_sets teacher_program

if at 1; then
    log "stage 1: data"
    # shellcheck disable=SC2086
    python3 local/data.py --out data $local_data_opts
fi

if at 2; then
    log "stage 2: prepare"
    for set in $train_sets $unlabelled_sets $valid_set $test_sets; do
        distill-asr prepare "data/$set" "dump/$set" --fs "$fs" --nj "$nj"
    done
    texts=()
    for set in $train_sets; do texts+=("dump/$set/text"); done
    first=${train_sets%% *}
    distill-asr prepare "data/$first" "dump/$first" --fs "$fs" --nj "$nj" \
        --tokens "$token_type" ${tokenizer:+--tokenizer "$tokenizer"} --token-list dump/tokens.txt --text "${texts[@]}"
fi

if at 3; then
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

if at 4; then
    log "stage 4: dump"
    for teacher in $teachers; do
        sets=()
        for set in $train_sets $unlabelled_sets $valid_set; do sets+=("dump/$set"); done
        $dump_cmd distill-asr dump --teacher "conf/teacher/$teacher.yaml" --name "$teacher" "${sets[@]}"
    done
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
    for teacher in $teachers; do # the ceiling: what the teachers reach by themselves
        # shellcheck disable=SC2086
        train_teacher "$teacher" $teacher_sets 2> /dev/null | grep -E "WER|masked"
    done
fi
