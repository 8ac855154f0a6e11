#!/usr/bin/env bash
# Distill-L2S on Common Voice: InfoXLM teaches XLSR, a language at a time. See README.md.
# COMMONVOICE=/path/to/cv-corpus ./run.sh --languages ta --ngpu 1
# COMMONVOICE=/path/to/cv-corpus ./run.sh --languages "ta ka hi" --seeds 1,2 --ngpu 1
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh
export COMMONVOICE=${COMMONVOICE:-}

exec bash ../../common/languages.sh --corpus commonvoice \
    --languages "ar ca cs el et fi hi hu id it ja ka lt lv nl pt ro sl ta th tr uk vi" \
    --corpus_opts "--max-seconds 10 --max-characters 200" \
    --baseline plain --candidates "l2s_0.25,l2s_0.5,l2s_1" \
    --nj 1 "$@"
