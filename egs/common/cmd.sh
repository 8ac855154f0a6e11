# Sourced by run.sh: what to put before a command to run it elsewhere, as ESPnet's cmd.sh does.
# Empty: it runs here. On Slurm for instance: train_cmd="srun --gres=gpu:1 --cpus-per-task=4".
export train_cmd=${train_cmd:-}
export dump_cmd=${dump_cmd:-}
export decode_cmd=${decode_cmd:-}
