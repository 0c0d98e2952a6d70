#!/usr/bin/env bash
# Train under Slurm: slurm_train.sh PARTITION JOB CONFIG WORK_DIR [options of train.py]
# GPUS (in all, default 8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS.
# A batch job whose run was asked to stop and has saved is queued again; see docs/operations.md.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB CONFIG WORK_DIR [options of train.py]" >&2
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

# Without an end of all tasks at the first status other than 0: having saved, they leave one by one.
# SRUN_ARGS holds several words on purpose.
# shellcheck disable=SC2086
srun -p "$PARTITION" \
    --job-name="$JOB" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=0 --wait=120 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$TOOLS/train.py" "$CONFIG" --work-dir "$4" --launcher slurm "${@:5}" &
SRUN=$!
# A signal to this script goes to the tasks, by way of srun, and the script waits on.
trap 'kill -USR1 "$SRUN" 2>/dev/null || true' TERM USR1 INT
while kill -0 "$SRUN" 2>/dev/null; do
    wait "$SRUN" || true
done
STATUS=0
wait "$SRUN" || STATUS=$?
# 75: asked to stop and saved.
if [ "$STATUS" -eq 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
    echo "$0: saved; job $SLURM_JOB_ID goes back to the queue" >&2
    scontrol requeue "$SLURM_JOB_ID" ||
        echo "$0: job $SLURM_JOB_ID could not be queued again; start it with --resume" >&2
fi
exit "$STATUS"
