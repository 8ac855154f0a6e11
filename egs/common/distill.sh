#!/usr/bin/env bash
# The stages of every recipe; called by run.sh from the recipe's directory.
# Each stage skips what is done and continues what was killed; each command can be typed by hand.
# shellcheck disable=SC2086,SC2206,SC1091 # options are lists of words, split on purpose
set -euo pipefail
{ # read as a whole before it runs, so that a change of this file does not touch a run

help_message="Usage: ./run.sh [options]
  --stage N --stop_stage N   1 data, 2 prepare, 3 teachers, 4 dump, 5 pretrain, 6 train, 7 decode, 8 score
  --systems NAMES            which systems of conf/systems.yaml (comma-separated); 'all' for every one
  --systems_file FILE        another grid, instead of conf/systems.yaml
  --seeds LIST               comma-separated
  --nj N                     processes at a time
  --ngpu N                   GPUs a training
  --baseline NAME            what the others are compared with
  --control NAME             a system that learns from an uninformative teacher; gains over it are shown too
  --corpus_opts OPTIONS      for distill-asr corpus; 'distill-asr corpus NAME --help' lists them
  --train_set OPTIONS        for each training of a student, such as '--set max_epoch=1'
  --teacher_set OPTIONS      for each training of a teacher, such as '--set training.num_train_epochs=1'
  --teacher_opts OPTIONS     for distill-asr dump, such as '--device cuda'
  --decode_opts OPTIONS      for distill-asr decode, such as '--beam-size 10'
  --pseudo_opts OPTIONS      for distill-asr pseudo-label
  --train_teachers true      train the teachers here instead of taking those in teachers/"

stage=1
stop_stage=8
systems=all
systems_file=conf/systems.yaml
seeds=1
nj=2
ngpu=0
baseline=baseline
control=
corpus=                 # for distill-asr corpus: a name, or the dotted path of your own; none: data/ is there
corpus_opts=
train_set=
teacher_set=
teacher_opts=
decode_opts="--beam-size 4"
pseudo_opts=
prepare_opts=           # for distill-asr prepare
fs=16000
train_sets="train"      # with transcripts
unlabelled_sets=        # audio only
valid_set=dev           # or several
test_sets=
train_teachers=false
token_type=char
token_list=dump/tokens.txt
token_opts=             # of token type bpe: --vocab-size N --bpe-model FILE; of hugging_face: --tokenizer MODEL

. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"
. "$(dirname "${BASH_SOURCE[0]}")/cmd.sh"
if ! command -v distill-asr > /dev/null; then
    echo "$0: no distill-asr on the PATH; install it in .venv (README.md), or activate its environment" >&2
    exit 1
fi
train_sets=($train_sets) unlabelled_sets=($unlabelled_sets) valid_set=($valid_set) test_sets=($test_sets)
grid=(--file "$systems_file" --systems "$systems" --seeds "$seeds" --nj "$nj"
    --train-sets "${train_sets[@]}" --unlabelled-sets "${unlabelled_sets[@]}"
    --valid-sets "${valid_set[@]}" --test-sets "${test_sets[@]}")

. "$(dirname "${BASH_SOURCE[0]}")/log.sh"
chosen=$(distill-asr recipe list "${grid[@]}")
if at 8 && [[ " $chosen " != *" $baseline "* ]]; then # stage 8 would refuse it, after hours
    echo "$0: --baseline $baseline: not among the systems $chosen; give one of them, or --stop_stage 7" >&2
    exit 1
fi
log "$stage to $stop_stage: systems $chosen"
hint

if at 1 && [ -n "$corpus" ]; then
    log "1: data"
    distill-asr corpus "$corpus" --out data $corpus_opts
fi

if at 2; then
    log "2: prepare"
    for set in "${train_sets[@]}" "${unlabelled_sets[@]}" "${valid_set[@]}"; do
        [[ " ${test_sets[*]} " != *" $set "* ]] || continue # a set is prepared once
        distill-asr prepare "data/$set" "dump/$set" --fs "$fs" --nj "$nj" $prepare_opts
    done
    for set in "${test_sets[@]}"; do # whole, however long or short an utterance is
        distill-asr prepare "data/$set" "dump/$set" --fs "$fs" --nj "$nj" $prepare_opts --min-duration 0 --max-duration inf
    done
    texts=("${train_sets[@]/#/dump/}")
    distill-asr prepare "data/${train_sets[0]}" "dump/${train_sets[0]}" --fs "$fs" --nj "$nj" $prepare_opts \
        --tokens "$token_type" --token-list "$token_list" $token_opts --text "${texts[@]/%//text}"
fi

if at 3; then
    log "3: teachers"
    distill-asr recipe teachers "${grid[@]}" --train-teachers "$train_teachers" --cmd "$train_cmd" $teacher_set
    distill-asr recipe recogniser "${grid[@]}" --ngpu "$ngpu" --cmd "$train_cmd" $train_set \
        --decode-opts="$decode_opts" --pseudo-opts="$pseudo_opts"
fi

if at 4; then
    log "4: dump"
    distill-asr recipe dump "${grid[@]}" --cmd "$dump_cmd" --dump-opts="$teacher_opts"
fi

if at 5 && ! at 6; then
    log "5: pretrain"
    distill-asr recipe pretrain "${grid[@]}" --ngpu "$ngpu" --cmd "$train_cmd" $train_set
fi

if at 6; then # with what is missing of stage 5: a system goes on as soon as its own stage 1 is done
    log "6: train"
    distill-asr recipe train "${grid[@]}" --ngpu "$ngpu" --cmd "$train_cmd" $train_set
fi

if at 7; then
    log "7: decode"
    distill-asr recipe decode "${grid[@]}" --cmd "$decode_cmd" --decode-opts="$decode_opts"
fi

if at 8; then
    log "8: score"
    distill-asr recipe score "${grid[@]}" --baseline "$baseline" ${control:+--control "$control"}
    echo "    the table is in exp/RESULTS.md; distill-asr report exp/*_seed* makes a page with curves and utterances" >&2
fi
exit
}
