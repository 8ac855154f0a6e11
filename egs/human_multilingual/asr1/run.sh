#!/usr/bin/env bash
# Whisper-base's encoder is fine-tuned with multilingual-e5-small's targets on human speech. See README.md.
# ./run.sh --joint true                         one student for all languages
# ./run.sh --languages "ru es" --seeds 1,2,3    a student for each
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh

exec bash ../../common/languages.sh --corpus human --languages "da pt-BR it be el ca bg en fr ro es ru" \
    --corpus_opts "${HUMAN_CORPUS:-}" \
    --decode_opts "--method greedy --checkpoint valid.cer_ctc.ave.pth" \
    --baseline plain --candidates l2s,aligned --control random "$@"
