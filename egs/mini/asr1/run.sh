#!/usr/bin/env bash
# Synthetic English: a small transducer learns from two speech teachers. See README.md.
# ./run.sh                                     baseline and the best student, one seed
# ./run.sh --experiments all --seeds 1,2,3     the whole grid
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh
. ../../common/cmd.sh

exec bash ../../common/distill.sh --corpus mini \
    --train_sets "train" --unlabelled_sets "unlab" --valid_set dev \
    --test_sets "test_clean test_noisy" --teacher_sets "teacher_train teacher_dev" \
    --teachers "hubert wavlm" --recogniser recogniser --experiments baseline,two_teachers_unlab "$@"
