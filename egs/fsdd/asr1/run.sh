#!/usr/bin/env bash
# Free Spoken Digit Dataset: human digits, joined into strings; few labels. See README.md.
# FSDD=/path/to/recordings ./run.sh            baseline and the best student, one seed
# ./run.sh --systems all --seeds 1,2,3         the whole grid
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh
. local/fsdd.sh

exec bash ../../common/distill.sh --corpus fsdd \
    --train_sets "train" --unlabelled_sets "unlab" --valid_set dev \
    --test_sets "test test_left_out" --systems baseline,two_teachers_unlab "$@"
