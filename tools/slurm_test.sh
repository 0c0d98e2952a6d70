#!/usr/bin/env bash
# Test under Slurm: slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [options of test.py]
# GPUS (in all, default 8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB CONFIG CHECKPOINT [options of test.py]" >&2
    exit 2
fi
PARTITION=$1
JOB=$2
CONFIG=$3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
[ "$GPUS_PER_NODE" -gt "$GPUS" ] && GPUS_PER_NODE=$GPUS
TOOLS=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"

# SRUN_ARGS holds several words on purpose.
# shellcheck disable=SC2086
srun -p "$PARTITION" \
    --job-name="$JOB" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$TOOLS/test.py" "$CONFIG" "$4" --launcher slurm "${@:5}"
