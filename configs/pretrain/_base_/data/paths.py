# Where the pretraining sets are, and the loaders that they share: the one place to set paths.
#
# SAIP_DATA moves all of them at once. A set is a folder that is searched for images
# (the release's LUP1M/train/*/ as it is), or the folder of a manifest made by
# tools/dataset_converters. See docs/data.md.
#
# SAIP_RETRIEVAL names a set in Market-1501 layout, on which the frozen features are validated
# after every epoch; SAIP_LABELED one with class folders, on which a k-NN classifier does it
# (docs/evaluation.md). Without both a hundredth of the training images, at most 1,000, is held back
# and validation asks for two-view recall among them.
_base_ = []  # only with it mmengine lets a configuration of this style import
from saip.configs import variable

pretrain_root = variable('SAIP_DATA', 'data')
retrieval_root = variable('SAIP_RETRIEVAL', 'none')
classes_root = variable('SAIP_LABELED', 'none')
if 'none' not in (retrieval_root, classes_root):
    raise ValueError(
        'SAIP_RETRIEVAL and SAIP_LABELED are both set, but one set validates: unset one'
    )
labeled = retrieval_root != 'none' or classes_root != 'none'
holdout = 0 if labeled else 0.01
person_sets = dict(
    LUP1M=dict(type='saip.PersonImages', data_root=pretrain_root + '/LUP1M', holdout=holdout),
    LUP2M=dict(type='saip.PersonImages', data_root=pretrain_root + '/LUP2M', holdout=holdout),
    LUP4M=dict(type='saip.PersonImages', data_root=pretrain_root + '/LUP4M', holdout=holdout),
    HP1M=dict(type='saip.PersonImages', data_root=pretrain_root + '/HP1M', holdout=holdout),
    IN1K=dict(type='saip.PersonImages', data_root=pretrain_root + '/IN1K', holdout=holdout),
)
retrieval_set = (
    dict(type='saip.RetrievalImages', data_root=retrieval_root, size=(256, 128))
    if classes_root == 'none'
    else dict(type='saip.LabeledParts', data_root=classes_root, size=(256, 128), limit=50000)
)
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
val_evaluator = dict(type='saip.RetrievalMetric' if labeled else 'saip.TwoViewRecall')
if classes_root != 'none':
    val_evaluator = dict(type='saip.KNNMetric')
val_cfg = dict()
test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_cfg = dict()
