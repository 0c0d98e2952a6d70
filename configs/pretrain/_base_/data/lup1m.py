_base_ = './paths.py'

train_dataloader = dict(dataset=_base_.person_sets['LUP1M'])
