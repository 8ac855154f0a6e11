#!/usr/bin/env bash
# Twenty languages: a pretrained speech model is fine-tuned with a text model's targets. See README.md.
# ./run.sh --languages "ka hi ta" --candidates l2s_0.5     a first look
# ./run.sh                                                 the grid
# ./run.sh --joint true                                    one student for all languages
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh

# the less audio, the earlier; both models are trained on the text or beside the speech of all
export all_languages=ka,ta,et,th,sl,lv,hi,lt,vi,fi,el,ca,hu,ro,id,uk,cs,tr,pt,it
exec bash ../../common/languages.sh --corpus mini_multilingual --languages "${all_languages//,/ }" \
    --baseline plain --candidates "l2s_0.25,l2s_0.5,l2s_1" "$@"
