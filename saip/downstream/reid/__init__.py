"""Person re-identification: data sets, sampler, head and metric. Importing registers them.

The baseline is TransReID's (He et al., 2021) without its side information, as SOLIDER uses it, on
mmpretrain's ``ImageClassifier``. Configurations name this package in ``custom_imports``.
"""

from saip.downstream.reid.datasets import MSMT17, Market1501
from saip.downstream.reid.head import BNNeckHead
from saip.downstream.reid.hook import IdentityCountHook
from saip.downstream.reid.metric import ReIDMetric
from saip.downstream.reid.sampler import IdentityBatchSampler

__all__ = [
    'MSMT17',
    'BNNeckHead',
    'IdentityBatchSampler',
    'IdentityCountHook',
    'Market1501',
    'ReIDMetric',
]
