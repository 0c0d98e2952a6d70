_base_ = './paths.py'

parts = [
    _base_.person_sets['LUP1M'],
    _base_.person_sets['HP1M'],
]
held_back = dict(**_base_.person_sets['LUP1M'], part='held_back')
train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=parts))
val_dataloader = dict(dataset=_base_.retrieval_set if _base_.labeled else held_back)
test_dataloader = val_dataloader
