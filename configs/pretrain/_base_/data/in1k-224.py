# ImageNet for encoders of square images: canvases twice as wide as a crop of 224 pixels, and a labeled
# set that validates at this size.
_base_ = './paths.py'

images = dict(**_base_.person_sets['IN1K'], canvas=(448, 448))
held_back = dict(**images, part='held_back')
labeled_set = {**_base_.retrieval_set, 'size': (224, 224)}
train_dataloader = dict(dataset=images)
val_dataloader = dict(dataset=labeled_set if _base_.labeled else held_back)
test_dataloader = val_dataloader
