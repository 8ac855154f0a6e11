#!/usr/bin/env bash
# Human recordings, real teachers: small transducers learn from Whisper-base. See README.md.
# ./run.sh                                            Russian: baseline and one student, one seed
# HUMAN_LANG=es ./run.sh --systems all --seeds 1,2,3  the whole grid in Spanish, in langs/es
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh
language=${HUMAN_LANG:-ru}
code=${language%@*} # be@tarask, pt_BR: as the collections spell them
mkdir -p "langs/$language" && ln -sfn ../../conf "langs/$language/conf" && cd "langs/$language"

options=(--corpus human --systems baseline,whisper_unlab
    --train_sets train --unlabelled_sets unlab --valid_set dev
    --token_type bpe --token_opts "--vocab-size 128 --bpe-model dump/bpe.model"
    --prepare_opts "--normalise unicode --language ${code/_/-} --max-duration 30"
    --pseudo_opts "--set language=${code%[_-]*} --max-compression 2.4 --max-repeats 3"
    --corpus_opts "--langs $language --left-out conf/mismatched.tsv ${HUMAN_CORPUS:-}")
if [ ! -d data/unlab ]; then # which tests there are depends on the language's voices
    bash ../../../../common/distill.sh "${options[@]}" "$@" --test_sets "" --stage 1 --stop_stage 1
fi
tests=$(cd data && echo test_*)
exec bash ../../../../common/distill.sh "${options[@]}" --test_sets "$tests" "$@"
