# Sourced by languages.sh: the speech model and the text model, each trained once.
# shellcheck shell=bash disable=SC2086,SC2154 # options are lists of words, given by languages.sh
distill-asr corpus "$corpus" --out data --pretraining $corpus_opts
distill-asr corpus "$corpus" --out data/text --text "$all_languages" $corpus_opts
mkdir -p exp/models
$train_cmd distill-asr train-teacher --config conf/speech_model.yaml $teacher_set \
    --train data/pretrain --dev data/pretrain_dev --output exp/models/speech
$train_cmd distill-asr train-teacher --config conf/text_teacher.yaml $teacher_set \
    --train data/text/train.txt --dev data/text/dev.txt --output exp/models/bert
