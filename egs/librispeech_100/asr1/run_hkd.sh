#!/usr/bin/env bash
# LibriSpeech: a CIF student learns from BERT, whose word pieces are its tokens. See README.md.
# LIBRISPEECH=/path/to/LibriSpeech ./run_hkd.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh

exec bash ../../common/distill.sh --corpus librispeech_100 \
    --train_sets "train" --valid_set dev --test_sets "test_clean test_other" \
    --corpus_opts "--sets train,dev,test_clean,test_other" \
    --token_type hugging_face --token_opts "--tokenizer google-bert/bert-base-uncased" \
    --token_list dump/tokens_bert.txt \
    --systems_file conf/systems_hkd.yaml --baseline cif --systems all "$@"
