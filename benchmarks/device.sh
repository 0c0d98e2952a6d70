#!/bin/bash
# The measurements of device.py on a GPU machine that has torch, torchvision, timm and pytest, but
# neither the OpenMMLab packages nor a network. Eight minutes at most, the installation included.
#
#   bash benchmarks/device.sh pack WHEELS               where there is a network: fetch pure wheels
#   bash benchmarks/device.sh run WHEELS OUT [OPTION]   there: install them, test, measure
#
# OUT gets device.md, device.json and install.txt. OPTION goes to device.py: --device cpu --quick
# tries everything on a CPU. WHEELS may be - where the packages are installed.
set -eu -o pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

pack() {
    # What such a machine lacks. mmcv without its operators, which need a compiler; --no-deps: the
    # OpenMMLab packages ask for a second OpenCV.
    MMCV_WITH_OPS=0 "$PYTHON" -m pip wheel -q --no-deps --no-cache-dir -w "$1" \
        -r <(sed 's/#.*//' requirements/forks-core.txt requirements/forks-plain.txt | sort -u) \
        addict importlib-metadata mat4py modelindex platformdirs termcolor yapf
    ls "$1"
}

run() {
    local wheels=$1 out=$2 site
    shift 2
    mkdir -p "$out"
    if [ "$wheels" != - ]; then
        site=$(mktemp -d)
        "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir \
            --target "$site" "$wheels"/*.whl
        export PYTHONPATH=$site
    fi
    export PYTHONPATH=$PWD:${PYTHONPATH:-} PYTHONUNBUFFERED=1
    "$PYTHON" -m pip list 2>/dev/null >"$out/install.txt" || true
    timeout -k 10 450 "$PYTHON" benchmarks/device.py "$out" "$@"
}

case "${1:-}" in
pack | run) "$@" ;;
*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
