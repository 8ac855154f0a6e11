#!/usr/bin/env bash
# A recipe for many languages: the stages of distill.sh for each in langs/<code>, the weight of the
# distillation chosen on dev, the test set decoded for the chosen one and the baseline alone, and
# one report over all. --joint true: one student for all languages, in langs/joint.
set -euo pipefail

help_message="Usage: ./run.sh [options]
  --languages 'ta ka'        codes
  --joint true               one student for all of them
  --stage N --stop_stage N   1 data, 2 prepare, 4 dump, 6 train, 7 decode, 8 report
  --seeds LIST               comma-separated
  --nj N                     processes at a time
  --ngpu N                   GPUs a training
  --baseline NAME            the plain student, a line of conf/experiments
  --candidates NAMES         lines of conf/experiments to choose from on dev (comma-separated)
  --teachers NAMES           conf/teacher/<name>.yaml says what to dump
  --corpus NAME              for distill-asr corpus
  --local_data_opts OPTIONS  for distill-asr corpus
  --prepare_opts OPTIONS     for distill-asr prepare, besides the language"

languages=
joint=false
stage=1
stop_stage=8
seeds=1
nj=2
ngpu=0
baseline=plain
candidates=
teachers=
corpus=
local_data_opts=
# no utterance is left out here, of the test sets least of all; the corpus has limits for training
prepare_opts="--normalise unicode --min-duration 0.05 --max-duration 3600"

common=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$common/parse_options.sh"

at() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }
# a directory that looks like a recipe's, for one language or all
folder() { # name conf
    mkdir -p "langs/$1"
    ln -sfn "../../$2" "langs/$1/conf"
}
sets() { for language in $languages; do printf '%s ' "${language}_$1"; done; } # of the joint student
stages() { # directory first last test-set experiments
    local name=$1 first=$2 last=$3 test=$4 names=$5 options
    [ "$first" -ge "$stage" ] || first=$stage
    [ "$last" -le "$stop_stage" ] || last=$stop_stage
    [ "$first" -le "$last" ] || return 0
    if [ "$joint" = true ]; then
        options=(--train_sets "$(sets train)" --valid_set "$(sets dev)" --test_sets "$(sets "$test")"
            --local_data_opts "--joint ${languages// /,} $local_data_opts"
            --prepare_opts "$prepare_opts --language LANG --language-tag")
    else
        options=(--test_sets "$test" --local_data_opts "--language $name $local_data_opts"
            --prepare_opts "$prepare_opts --language $name")
    fi
    (cd "langs/$name" && bash "$common/distill.sh" --corpus "$corpus" --stage "$first" --stop_stage "$last" \
        --experiments "$names" --teachers "$teachers" --seeds "$seeds" --nj "$nj" --ngpu "$ngpu" \
        --decode_opts "--method greedy" "${options[@]}")
}
report() {
    local options=()
    if [ "$joint" = true ]; then
        options=(--exp langs/joint/exp --dump langs/joint/dump --train-set "{language}_train"
            --dev-set "{language}_dev" --test-set "{language}_test" --together)
    fi
    distill-asr report --languages "${languages// /,}" --baseline "$baseline" \
        --candidates "$candidates" --seeds "$seeds" "${options[@]}" "$@"
}

names=$languages
[ "$joint" = false ] || names=joint
for name in $names; do
    if [ "$joint" = true ]; then folder "$name" conf/joint; else folder "$name" conf; fi
    echo "$(date '+%H:%M:%S') == $name" >&2
    stages "$name" 1 6 test "$baseline,$candidates"
    stages "$name" 7 7 dev "$baseline,$candidates"
done
if at 7; then # the test set is looked at after the choice
    mkdir -p exp
    report --choose exp/chosen
    while read -r name chosen <&3; do
        [ "$joint" = false ] || name=joint
        stages "$name" 7 7 test "$baseline,$chosen"
    done 3< exp/chosen
fi
if at 8; then
    out=exp/REPORT.md
    [ "$joint" = false ] || out=exp/REPORT_joint.md
    report --out "$out"
fi
