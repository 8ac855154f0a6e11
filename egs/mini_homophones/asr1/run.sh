#!/usr/bin/env bash
# Synthetic English with homophones: a CIF student learns from a text teacher. See README.md.
# ./run.sh                                     baseline and both levels, one seed
# ./run.sh --experiments all --seeds 1,2,3     the whole grid
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh
. ../../common/cmd.sh

exec bash ../../common/distill.sh --corpus mini_homophones \
    --train_sets train --valid_set dev --test_sets test --token_type word \
    --teachers bert \
    --teacher_sets "text/train.txt text/dev.txt" --experiments baseline,both "$@"
