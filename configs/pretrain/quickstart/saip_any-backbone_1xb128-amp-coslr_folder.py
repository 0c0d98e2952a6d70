# make quickstart DATA=folder (on a machine with a GPU)
# The full encoder and views; fewer prototypes and a KoLeo term, since the run is short. An H100
# trains about 600 images a second; never run to its end there.
_base_ = [
    '../_base_/methods/saip.py',
    '../_base_/data/folder.py',
    '../_base_/schedules/adamw-coslr-short.py',
    '../../_base_/backbones/{{$SAIP_BACKBONE:vit-tiny-p16}}.py',
    '../../_base_/default_runtime.py',
]
short_csm = dict(neck=dict(out_channels=4096), head=dict(teacher_temp=0.03))
koleo = dict(type='saip.KoLeo', loss_weight=0.1)
model = dict(backbone=_base_.backbone, objectives=dict(csm=short_csm, koleo=koleo))
train_dataloader = dict(batch_size=128)
