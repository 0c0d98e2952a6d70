#!/usr/bin/env bash
# Fine-tune a pretrained encoder on a task:
# dist_finetune.sh TASK_CONFIG BACKBONE CHECKPOINT GPUS [options of train.py]
# BACKBONE is a file of configs/_base_/backbones without .py. CHECKPOINT is what
# tools/export_backbone.py writes, or "none" to train from random weights. More nodes: as for
# dist_train.sh.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 TASK_CONFIG BACKBONE CHECKPOINT GPUS [options of train.py]" >&2
    exit 2
fi
TOOLS=$(cd "$(dirname "$0")" && pwd)
FRAGMENTS=$TOOLS/../configs/_base_/backbones

if [ ! -f "$FRAGMENTS/$2.py" ]; then
    CHOICES=$(cd "$FRAGMENTS" && printf ' %s' *.py)
    echo "$0: no BACKBONE $2; choose one of${CHOICES//.py/}" >&2
    exit 2
fi
if [ "$3" != none ] && [ ! -f "$3" ]; then
    echo "$0: no CHECKPOINT $3; name a file of tools/export_backbone.py, or none" >&2
    exit 2
fi
if [[ ! $4 =~ ^[1-9][0-9]*$ ]]; then
    echo "$0: GPUS is $4; give the number of processes, 1 or more" >&2
    exit 2
fi
export SAIP_BACKBONE=$2 SAIP_INIT=$3
exec bash "$TOOLS/dist_train.sh" "$1" "$4" "${@:5}"
