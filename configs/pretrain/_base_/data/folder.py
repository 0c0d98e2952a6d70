# Any folder of person crops: SAIP_FOLDER names it. One image in ten, at most 1,000, is held
# back for the validation without labels.
_base_ = './paths.py'
from saip.configs import variable

folder = variable('SAIP_FOLDER', 'data/crops')
images = dict(type='saip.PersonImages', data_root=folder, holdout=0.1)
held_back = dict(**images, part='held_back')
train_dataloader = dict(dataset=images)
val_dataloader = dict(dataset=_base_.retrieval_set if _base_.labeled else held_back)
test_dataloader = val_dataloader
# What the presets named *-small validate on: a labeled set at the size of their views, held-back images
# as canvases.
small_images = dict(size=(128, 64)) if _base_.labeled else dict(canvas=(160, 80))
