_base_ = './paths.py'

# A canvas as wide as it is high: ImageNet's pictures are wider than persons, and small crops
# of them would be coarse on a canvas of 160 columns.
train_dataloader = dict(dataset=dict(**_base_.person_sets['IN1K'], canvas=(320, 320)))
