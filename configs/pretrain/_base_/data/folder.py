# Any folder of person crops: SAIP_FOLDER names it. One picture in ten, at most 1,000, is held
# back for the validation without labels.
_base_ = './paths.py'

pictures = dict(type='saip.PersonImages', data_root='{{$SAIP_FOLDER:data/crops}}', holdout=0.1)
held_back = dict(**pictures, part='held_back')
train_dataloader = dict(dataset=pictures)
val_dataloader = dict(dataset=_base_.retrieval_set if _base_.labelled else held_back)
test_dataloader = val_dataloader
