# CSPNeXt-S: 4.38M parameters, a CNN (Lyu et al., RTMDet, 2022); mmdetection or mmpose, one of which
# must be installed.
backbone = dict(
    type='saip.OpenMMLabEncoder',
    model=dict(
        type='CSPNeXt',
        arch='P5',
        expand_ratio=0.5,
        deepen_factor=0.33,
        widen_factor=0.5,
        channel_attention=True,
        out_indices=(1, 2, 3, 4),
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='SiLU'),
    ),
    libraries=('mmdet', 'mmpose'),
    strides=(4, 8, 16, 32),
)
embed_dims = 512
pyramid_channels = [64, 128, 256, 512]
last_stride = 32  # of the map that the encoder's forward returns
