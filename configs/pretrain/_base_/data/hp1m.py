_base_ = './paths.py'

images = _base_.person_sets['HP1M']
held_back = dict(**images, part='held_back')
train_dataloader = dict(dataset=images)
val_dataloader = dict(dataset=_base_.retrieval_set if _base_.labeled else held_back)
test_dataloader = val_dataloader
