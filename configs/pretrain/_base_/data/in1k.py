_base_ = './paths.py'

# A canvas as wide as it is high: ImageNet's images are wider than persons, and small crops
# of them would be coarse on a canvas of 160 columns.
images = dict(**_base_.person_sets['IN1K'], canvas=(320, 320))
held_back = dict(**images, part='held_back')
train_dataloader = dict(dataset=images)
val_dataloader = dict(dataset=_base_.retrieval_set if _base_.labeled else held_back)
test_dataloader = val_dataloader
