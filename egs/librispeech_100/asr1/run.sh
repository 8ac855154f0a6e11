#!/usr/bin/env bash
# LibriSpeech: 100 h with transcripts, 860 h without; students of 10 and 30 M parameters. See README.md.
# LIBRISPEECH=/path/to/LibriSpeech ./run.sh              baseline and two teachers, 10 M
# ./run.sh --teachers "wavlm hubert wav2vec2 data2vec" --experiments all --seeds 1,2,3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh
. ../../common/cmd.sh

exec bash ../../common/distill.sh --corpus librispeech_100 \
    --train_sets "train" --unlabelled_sets "unlab" --valid_set dev \
    --test_sets "test_clean test_other" --token_type bpe --vocab_size 256 \
    --teachers "wavlm hubert" --recogniser recogniser --experiments baseline_10m,two_teachers_10m \
    --baseline baseline_10m "$@"
