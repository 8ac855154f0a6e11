# Sourced by languages.sh: the speech model, which comes with the recipe, and the text model, trained once.
# shellcheck shell=bash disable=SC2086,SC2154 # options are lists of words, given by languages.sh
distill-asr corpus "$corpus" --out data/text --text "${languages// /,}" $corpus_opts
mkdir -p exp/models
if [ "$train_teachers" = true ]; then
    distill-asr corpus "$corpus" --out data --pretraining --nj "$nj" $corpus_opts
    $train_cmd distill-asr train-teacher --config conf/speech_model.yaml $teacher_set \
        --train data/pretrain --dev data/pretrain_dev --output exp/models/speech
elif [ ! -e exp/models/speech ]; then
    rm -rf exp/models/.speech
    cp -r teachers/speech exp/models/.speech
    mv exp/models/.speech exp/models/speech
fi
$train_cmd distill-asr train-teacher --config conf/text_teacher.yaml $teacher_set \
    --train data/text/train.txt --dev data/text/dev.txt --output exp/models/bert
