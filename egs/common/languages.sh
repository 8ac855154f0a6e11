#!/usr/bin/env bash
# A recipe for many languages: each in langs/<code>, the weight of the distillation chosen on dev,
# the test set decoded for the chosen one and the baseline alone, one report over all.
# --joint true: one student for all languages, in langs/joint.
# shellcheck disable=SC2086,SC2206,SC1091 # options are lists of words, split on purpose
set -euo pipefail
{ # read as a whole before it runs, so that a change of this file does not touch a run

help_message="Usage: ./run.sh [options]
  --languages 'ta ka'        codes
  --joint true               one student for all of them: conf/systems_joint.yaml
  --stage N --stop_stage N   1 data, 2 prepare, 3 models, 4 dump, 6 train, 7 decode, 8 report
  --seeds LIST               comma-separated
  --nj N                     processes at a time: of a corpus and of prepare, then over all languages
  --ngpu N                   GPUs a training
  --baseline NAME            the plain student, a system of conf/systems.yaml
  --candidates NAMES         systems to choose from on dev (comma-separated)
  --control NAME             a system that learns from an uninformative teacher: no choice, all systems are
                             decoded, each candidate has a report of its gains over the baseline and the control
  --corpus_opts OPTIONS      for distill-asr corpus; 'distill-asr corpus NAME --help' lists them
  --train_sets 'A B'         of each language, that students learn from (train); without --joint
  --more_sets 'A B'          prepared as well: sets that stages of the systems file name
  --token_type TYPE          of distill-asr prepare
  --prepare_opts OPTIONS     for distill-asr prepare, besides the language
  --train_set OPTIONS        for each training of a student, such as '--set max_epoch=1'
  --teacher_set OPTIONS      for each training of a model in local/models.sh
  --train_teachers true      train those models here that come with the recipe in teachers/
  --teacher_opts OPTIONS     for distill-asr dump, such as '--device cuda'
  --decode_opts OPTIONS      for distill-asr decode, instead of '--method greedy'"

languages=
joint=false
stage=1
stop_stage=8
seeds=1
nj=2
ngpu=0
baseline=plain
candidates=
control=
corpus=
corpus_opts=
train_sets=train
more_sets=
token_type=char
train_set=
teacher_set=
train_teachers=false
teacher_opts=
decode_opts="--method greedy"
# no utterance is left out here, of the test sets least of all; the corpus has limits for training
prepare_opts="--normalise unicode --min-duration 0.05 --max-duration inf"

common=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$common/parse_options.sh"
. "$common/cmd.sh"
codes=($languages)
systems_all=$baseline,$candidates${control:+,$control}
study=(--languages "${languages// /,}" --seeds "$seeds")
if [ "$joint" = true ]; then
    folders=(langs/joint) systems=conf/systems_joint.yaml out=exp/REPORT_joint.md
    train=("${codes[@]/%/_train}") dev=("${codes[@]/%/_dev}") test=("${codes[@]/%/_test}")
    study+=(--exp langs/joint/exp --dump langs/joint/dump --together
        --train-set "{language}_train" --dev-set "{language}_dev" --test-set "{language}_test")
else
    folders=("${codes[@]/#/langs/}") systems=conf/systems.yaml out=exp/REPORT.md
    train=($train_sets) dev=(dev) test=(test)
fi
mkdir -p exp "${folders[@]}"
grid=(--file "$systems" --seeds "$seeds" --nj "$nj" --folders "${folders[@]}"
    --train-sets "${train[@]}" --valid-sets "${dev[@]}")

. "$common/log.sh"

log "$stage to $stop_stage: languages $languages"
hint
if at 1; then
    log "1: data"
    if [ "$joint" = true ]; then
        (cd langs/joint && distill-asr corpus "$corpus" --out data --joint "${languages// /,}" --nj "$nj" $corpus_opts)
    else
        for code in "${codes[@]}"; do
            (cd "langs/$code" && distill-asr corpus "$corpus" --out data --language "$code" --nj "$nj" $corpus_opts)
        done
    fi
fi

if at 2 && [ "$joint" = true ]; then
    log "2: prepare"
    for code in "${codes[@]}"; do
        for set in train dev test; do
            (cd langs/joint && distill-asr prepare "data/${code}_$set" "dump/${code}_$set" \
                --nj "$nj" $prepare_opts --language "$code" --language-tag)
        done
    done
    texts=("${train[@]/#/dump/}")
    (cd langs/joint && distill-asr prepare "data/${train[0]}" "dump/${train[0]}" --nj "$nj" $prepare_opts \
        --language "${codes[0]}" --language-tag --tokens char --token-list dump/tokens.txt --text "${texts[@]/%//text}")
elif at 2; then
    log "2: prepare"
    for code in "${codes[@]}"; do
        (cd "langs/$code" && bash "$common/distill.sh" --stage 2 --stop_stage 2 --nj "$nj" --systems_file "../../$systems" \
            --train_sets "$train_sets" --test_sets test --unlabelled_sets "$more_sets" --token_type "$token_type" --prepare_opts "$prepare_opts --language $code")
    done
fi

if at 3 && [ -f local/models.sh ]; then
    log "3: models"
    . local/models.sh # trained once, whatever languages are asked for
fi

if at 4; then
    log "4: dump"
    distill-asr recipe dump "${grid[@]}" --systems "$systems_all" --cmd "$dump_cmd" --dump-opts="$teacher_opts"
fi

if at 6; then
    log "6: train"
    distill-asr recipe train "${grid[@]}" --systems "$systems_all" --ngpu "$ngpu" --cmd "$train_cmd" $train_set
fi

if at 7; then # the test set is looked at after the choice
    log "7: decode"
    distill-asr recipe decode "${grid[@]}" --systems "$systems_all" --test-sets "${dev[@]}" \
        --cmd "$decode_cmd" --decode-opts="$decode_opts"
    if [ -z "$control" ]; then
        distill-asr report "${study[@]}" --baseline "$baseline" --candidates "$candidates" --choose exp/chosen
        which=(--systems "$baseline" --chosen exp/chosen)
    else
        which=(--systems "$systems_all")
    fi
    distill-asr recipe decode "${grid[@]}" "${which[@]}" --test-sets "${test[@]}" \
        --cmd "$decode_cmd" --decode-opts="$decode_opts"
fi

if at 8; then
    log "8: report"
    if [ -z "$control" ]; then
        distill-asr report "${study[@]}" --baseline "$baseline" --candidates "$candidates" --out "$out"
    else
        for system in ${candidates//,/ } "$control"; do
            distill-asr report "${study[@]}" --baseline "$baseline" --candidates "$system" --out "${out%.md}_$system.md"
            [ "$system" = "$control" ] ||
                distill-asr report "${study[@]}" --baseline "$control" --candidates "$system" --out "${out%.md}_${system}_over_$control.md"
        done
    fi
fi
exit
}
