# What the stages of distill.sh do for one set, teacher or experiment; sourced by it, with its options.
# shellcheck shell=bash disable=SC2154
dump_opts() { for set in ${1//,/ }; do echo "--train dump/$set"; done; }
valid_opts() { for set in $valid_set; do echo "--valid dump/$set"; done; }
pretrain_one() { # seed name config sets
    local seed=$1 name=$2 config=$3 sets=$4
    [ "$config" != - ] || return 0
    mkdir -p exp
    # experiments that share their stage 1 share its training: the second waits, then finds it done
    # shellcheck disable=SC2046
    flock "exp/.${config}_${sets//,/_}_seed$seed.lock" $train_cmd distill-asr train --config "conf/$config.yaml" $(dump_opts "$sets") \
        $(valid_opts) --set "seed=$seed" --set "ngpu=$ngpu" \
        --output "exp/${config}_${sets//,/_}_seed$seed"
}
train_one() { # seed name stage-1-config stage-1-sets config options...
    local seed=$1 name=$2 first=$3 sets=$4 config=$5
    shift 5
    local init=()
    [ "$first" = - ] || init=(--init "exp/${first}_${sets//,/_}_seed$seed")
    # shellcheck disable=SC2046
    $train_cmd distill-asr train --config "conf/$config.yaml" $(dump_opts "$train_sets") \
        $(valid_opts) --set "seed=$seed" --set "ngpu=$ngpu" "${init[@]}" "$@" \
        --output "exp/${name}_seed$seed"
}
train_teacher() { # name training-set dev-set
    [ -f "conf/teacher_$1.yaml" ] || return 0 # it comes trained
    local set tests=()
    for set in $test_sets; do tests+=(--test "dump/$set"); done
    $train_cmd distill-asr train-teacher --config "conf/teacher_$1.yaml" \
        --train "data/$2" --dev "data/$3" "${tests[@]}" --output "exp/teachers/$1"
}
train_recogniser() {
    # shellcheck disable=SC2046
    $train_cmd distill-asr train --config "conf/$recogniser.yaml" $(dump_opts "$train_sets") $(valid_opts) \
        --set "ngpu=$ngpu" --output "exp/${recogniser}_seed1"
    decode_one 1 "$recogniser"
    for set in $unlabelled_sets; do
        # shellcheck disable=SC2086
        $decode_cmd distill-asr pseudo-label --exp "exp/${recogniser}_seed1" --data "dump/$set" \
            --output "dump/${set}_pseudo" $pseudo_opts
    done
}
dump_one() { # teacher sets...
    local teacher=$1
    shift
    # shellcheck disable=SC2086
    $dump_cmd distill-asr dump --teacher "conf/teacher/$teacher.yaml" --name "$teacher" $teacher_opts "${@/#/dump/}"
}
pretrain_then_train() {
    pretrain_one "$@"
    train_one "$@"
}
decode_one() { # seed name ...
    local sets
    read -r -a sets <<< "$test_sets"
    # shellcheck disable=SC2086
    $decode_cmd distill-asr decode --exp "exp/$2_seed$1" --data "${sets[@]/#/dump/}" $decode_opts
}
export -f dump_opts valid_opts pretrain_one train_one pretrain_then_train decode_one train_teacher
export train_sets
