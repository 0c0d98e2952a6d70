"""SAIP, the algorithm."""

from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from saip.models.selfsup.pretrainer import Pretrainer
from saip.registry import MODELS


@MMPRETRAIN_MODELS.register_module()
@MODELS.register_module()
class SAIP(Pretrainer):
    """Scale-aware image pretraining.

    Cross-scale matching, reconstruction and search (Section III-B) with a moving-average expert;
    which objectives, views and schedules take part is written in ``configs/pretrain``.
    """
