#!/usr/bin/env bash
# LibriSpeech: 100 h with transcripts, 860 h without; students of 10 and 30 M parameters. See README.md.
# LIBRISPEECH=/path/to/LibriSpeech ./run.sh              baseline and two teachers, 10 M
# ./run.sh --systems all --seeds 1,2,3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh

exec bash ../../common/distill.sh --corpus librispeech_100 \
    --train_sets "train" --unlabelled_sets "unlab" --valid_set dev \
    --test_sets "test_clean test_other" --token_type bpe --token_opts "--vocab-size 256 --bpe-model dump/bpe.model" \
    --systems baseline_10m,two_teachers_10m --baseline baseline_10m "$@"
