# Sourced by run.sh: where the commands are, how many threads each process takes.
# A recipe that must differ sets its own values after sourcing this file.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -d "$root/.venv/bin" ]; then
    export PATH="$root/.venv/bin:$PATH"
fi
export LC_ALL=C.UTF-8
export PYTHONUNBUFFERED=1
# small models run fastest with one thread a process and several processes (--nj)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# glibc: keep the big buffers of a step instead of giving them back to the kernel each time
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-536870912}
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-2147483648}
# corpora and models are local unless you say otherwise
export TOKENIZERS_PARALLELISM=false
