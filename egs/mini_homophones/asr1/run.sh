#!/usr/bin/env bash
# Synthetic English with homophones: a CIF student learns from a text teacher. See README.md.
# ./run.sh                                     baseline and both levels, one seed
# ./run.sh --systems all --seeds 1,2,3         the whole grid
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh

exec bash ../../common/distill.sh --corpus mini_homophones \
    --train_sets train --valid_set dev --test_sets test --token_type word \
    --systems baseline,both "$@"
