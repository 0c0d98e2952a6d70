#!/usr/bin/env bash
# Which pretraining is worth its minutes on real people: first what practitioners begin with, ImageNet
# weights as they are, then SAIP and DINO from them; then the methods from scratch with ViT-Tiny.
#
#     bash benchmarks/compare_real_people.sh CROPS MARKET IMAGENET.pth OUT
#
# CROPS is a folder to pretrain on, MARKET a set in Market-1501 layout with other people, IMAGENET.pth
# weights of the encoder BACKBONE. Two tables, OUT/imagenet and OUT/scratch; called again it goes on.
# Ten minutes on one GPU as it stands. Smaller, to try it on a CPU:
#
#     SIZE=-small BACKBONE=vit-4blocks-p16 SCRATCH=vit-4blocks-p16 BATCH=8 MINUTES="2 6" bash ...
set -euo pipefail
if [ $# -ne 4 ]; then
    sed -n '2,12p' "$0" >&2
    exit 2
fi
crops=$1 market=$2 weights=$3 out=$4
size=${SIZE:-} backbone=${BACKBONE:-efficientnet-lite0} scratch=${SCRATCH:-vit-tiny-p16}
batch=${BATCH:-128}
read -r first second <<<"${MINUTES:-5 5}"
tool=$(dirname "$0")/../tools/compare.py
# Without keypoints of the crops HAP takes a standing person; SAIP_KEYPOINTS names a file of them.
export SAIP_KEYPOINTS=${SAIP_KEYPOINTS:-none}
common=(--data "$crops" --retrieval "$market" --batch-size "$batch" --workers "${WORKERS:-8}")
python "$tool" imagenet "imagenet+saip$size" "imagenet+dino$size" --init "imagenet=$weights" \
    --backbone "$backbone" --time "$first" --out "$out/imagenet" "${common[@]}"
python "$tool" "saip$size" "dino$size" "mae$size" "mae-dino$size" "hap$size" "solider$size" \
    --backbone "$scratch" --time "$second" --out "$out/scratch" "${common[@]}"
