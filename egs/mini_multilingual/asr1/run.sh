#!/usr/bin/env bash
# Twenty languages, names of which the beginnings are lost: a text model that knows which names belong together.
# Any other language with CLDR's names and a voice of espeak-ng works too. See README.md.
# ./run.sh --languages "ka hi ta" --candidates aligned     a first look
# ./run.sh --seeds 1,2,3                                   all of it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh

# the less audio, the earlier
exec bash ../../common/languages.sh --corpus mini_multilingual --languages "ka ta et th sl lv hi lt vi fi el ca hu ro id uk cs tr pt it" \
    --train_sets "train train_whole" --more_sets "dev_whole test_whole" --token_type word \
    --baseline plain --candidates l2s,aligned,transport --control random "$@"
