"""Recognition of person attributes: data sets, loss, head and metric. Importing registers them.

The baseline is the linear classifier with ratio-weighted binary cross-entropy of Jia et al.,
Rethinking of Pedestrian Attribute Recognition (2021), on mmpretrain's ``ImageClassifier``.
Configurations name this package in ``custom_imports``.
"""

from saip.downstream.attributes.datasets import PA100K, PETAZeroShot
from saip.downstream.attributes.head import AttributeHead
from saip.downstream.attributes.hook import PositiveRatioHook
from saip.downstream.attributes.loss import RatioWeightedBCE
from saip.downstream.attributes.metric import AttributeMetric

__all__ = [
    'PA100K',
    'AttributeHead',
    'AttributeMetric',
    'PETAZeroShot',
    'PositiveRatioHook',
    'RatioWeightedBCE',
]
