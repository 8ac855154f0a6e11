#!/usr/bin/env bash
# Twenty languages with a long tail: a text model teaches a pre-trained speech model. See README.md.
# ./run.sh --languages "ka hi ta" --candidates l2s_0.5     a first look
# ./run.sh                                                 the grid
# ./run.sh --joint true                                    one student for all languages
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../../common/path.sh
. ../../common/cmd.sh

languages="ka ta et th sl lv hi lt vi fi el ca hu ro id uk cs tr pt it" # the less audio, the earlier
if [[ " $* " != *" --help "* ]]; then # both models, trained once, whatever languages are asked for
    distill-asr corpus mini_multilingual --pretraining --out data
    distill-asr corpus mini_multilingual --text "${languages// /,}" --out data/text
    mkdir -p exp/models
    $train_cmd distill-asr train-teacher --config conf/speech_model.yaml \
        --train data/pretrain --dev data/pretrain_dev --output exp/models/speech
    $train_cmd distill-asr train-teacher --config conf/text_teacher.yaml \
        --train data/text/train.txt --dev data/text/dev.txt --output exp/models/xlmr
fi
exec bash ../../common/languages.sh --corpus mini_multilingual --languages "$languages" --teachers xlmr --baseline plain \
    --candidates "l2s_0.25,l2s_0.5,l2s_1" "$@"
