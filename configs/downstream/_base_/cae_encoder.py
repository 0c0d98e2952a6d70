# Options of CAE's encoders only: SAIP_LAYER_SCALE is the LayerScale of its pretraining,
# 0.1 or, of large models, 1e-5; its positions are a fixed table. A leaf adds these options to its
# encoder. With 0, the default, gains that a file holds are folded into the layers before them.
_base_ = []  # only with it mmengine lets a configuration of this style import
from saip.configs import number

gain = number('SAIP_LAYER_SCALE', '0')
cae_options = dict(layer_scale=gain, pos_init='sincos') if gain else dict()
