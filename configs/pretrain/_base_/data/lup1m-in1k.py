_base_ = './paths.py'

train_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            _base_.person_sets['LUP1M'],
            _base_.person_sets['IN1K'],
        ],
    )
)
