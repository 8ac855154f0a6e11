#!/usr/bin/env bash
# LibriSpeech: a CIF student learns from BERT, whose word pieces are its tokens. See README.md.
# LIBRISPEECH=/path/to/LibriSpeech ./run_hkd.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh
. ../../common/cmd.sh

exec bash ../../common/distill.sh \
    --train_sets "train" --valid_set dev --test_sets "test_clean test_other" \
    --local_data_opts "--sets train,dev,test_clean,test_other" \
    --token_type hugging_face --tokenizer google-bert/bert-base-uncased \
    --token_list dump/tokens_bert.txt --text_teachers bert \
    --experiments_file conf/experiments_hkd --baseline cif --experiments all "$@"
