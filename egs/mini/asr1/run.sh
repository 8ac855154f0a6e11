#!/usr/bin/env bash
# Synthetic English: a small transducer learns from two speech teachers. See README.md.
# ./run.sh                                     baseline and the best student, one seed
# ./run.sh --systems all --seeds 1,2,3         the whole grid
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh

exec bash ../../common/distill.sh --corpus mini \
    --train_sets "train" --unlabelled_sets "unlab" --valid_set dev \
    --test_sets "test_clean test_noisy" --systems baseline,two_teachers_unlab "$@"
