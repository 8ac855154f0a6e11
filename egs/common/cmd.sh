# Sourced by run.sh: what to put before a command to run it elsewhere, as ESPnet's cmd.sh does.
# The default runs here. On Slurm for instance: train_cmd="srun --gres=gpu:1 --cpus-per-task=4".
export train_cmd=${train_cmd:-env}
export dump_cmd=${dump_cmd:-env}
export decode_cmd=${decode_cmd:-env}
