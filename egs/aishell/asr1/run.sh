#!/usr/bin/env bash
# AISHELL-1: a CIF student learns from BERT on two levels. See README.md.
# AISHELL=/path/to/data_aishell ./run.sh                plain and both levels, one seed
# ./run.sh --systems all --seeds 1,2,3              the four trained rows
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh

exec bash ../../common/distill.sh --corpus aishell \
    --train_sets "train" --valid_set dev --test_sets "dev test" \
    --decode_opts "--beam-size 10" --baseline plain --systems plain,both "$@"
