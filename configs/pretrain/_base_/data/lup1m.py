_base_ = './paths.py'

pictures = _base_.person_sets['LUP1M']
held_back = dict(**pictures, part='held_back')
train_dataloader = dict(dataset=pictures)
val_dataloader = dict(dataset=_base_.retrieval_set if _base_.labelled else held_back)
test_dataloader = val_dataloader
