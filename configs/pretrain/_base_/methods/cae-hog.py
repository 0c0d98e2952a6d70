# Preset `cae-hog`: CAE with histograms of oriented gradients as the target.
_base_ = './cae.py'
preset = 'cae-hog'
model = dict(
    objectives=dict(
        cae=dict(target=dict(_delete_=True, type='saip.HOGTarget', bins=9, cells=2))
    )
)
