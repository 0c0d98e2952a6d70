#!/usr/bin/env bash
# CAE with each target that needs no published file, on synthetic people: do both losses fall, and does
# the encoder retrieve better than before its training?
#
#     python tools/dataset_converters/make_people.py people --size quickstart
#     bash benchmarks/cae_targets.sh people OUT
#
# Eight minutes for each target on two CPU cores with EPOCHS=6, the default. OUT/<target>.json holds the
# retrieval of the trained and of the untrained encoder; the losses are in the logs below OUT.
set -euo pipefail
if [ $# -ne 2 ]; then
    sed -n '2,10p' "$0" >&2
    exit 2
fi
people=$1 out=$(mkdir -p "$2" && cd "$2" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
epochs=${EPOCHS:-6}
images=$people/bounding_box_train
config=$root/configs/pretrain/cae/cae-small_any-backbone_1xb32-amp-coslr_folder.py
export SAIP_EPOCHS=$epochs

pretrain() { # name, then options
    local name=$1
    shift
    local options=()
    [ $# -eq 0 ] || options=(--cfg-options "$@")
    SAIP_FOLDER=$images SAIP_RETRIEVAL=$people python "$root/tools/train.py" "$config" \
        --work-dir "$out/$name" --resume "${options[@]}"
    python "$root/tools/eval_frozen.py" "$out/$name/epoch_$epochs.pth" "$people" --json "$out/$name.json"
}

pretrain pixels model.objectives.cae.target.norm_pix=True
pretrain hog model.objectives.cae.target.type=saip.HOGTarget

SAIP_FOLDER=$images python "$root/tools/train.py" "$root/configs/tokenizer/dvae_1xb256-amp-coslr_folder.py" \
    --work-dir "$out/tokenizer" --resume --cfg-options model.data_preprocessor.size='(64, 32)' \
    train_dataloader.batch_size=64 model.tokenizer.num_codes=256 model.tokenizer.code_dims=64 \
    model.tokenizer.width=32
python "$root/tools/model_converters/export_tokenizer.py" "$out/tokenizer/epoch_20.pth" "$out/tokenizer.pth"
cat >"$out/dvae.py" <<CONFIG
_base_ = '$config'
model = dict(
    data_preprocessor=dict(views=dict(tokenized=dict(type='Recut', of='clean'))),
    objectives=dict(
        cae=dict(
            target=dict(
                _delete_=True,
                type='saip.TokenTarget',
                tokenizer=dict(type='saip.DiscreteVAE', num_codes=256, code_dims=64, width=32),
                checkpoint='$out/tokenizer.pth',
            )
        )
    ),
)
CONFIG
config=$out/dvae.py
pretrain dvae
