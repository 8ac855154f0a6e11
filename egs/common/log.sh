# Sourced: the line a stage, with what distill-asr plan expects of it.
at() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }
expected() { # of a stage by its name in the plan
    [ ! -f exp/plan.txt ] || awk -v stage="$1" \
        '$0 ~ "^" stage " " {print ", by plan " $2 " " $3 ", " $4 " " $5 " of disk, " $6 " " $7 " of memory"}' exp/plan.txt
}
log() { echo "$(date '+%H:%M:%S') stage $1$(expected "${1##* }")" >&2; }
hint() { # unless one stage is asked for, or the plan is there
    [ "$stage" = "$stop_stage" ] || [ -f exp/plan.txt ] ||
        echo "    (distill-asr plan . measures this machine and says what the stages will take)" >&2
}
