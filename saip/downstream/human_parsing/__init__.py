"""Multiple human parsing with Parsing R-CNN on CIHP; needs mmdetection and mmcv's compiled ops.

Yang et al., Parsing R-CNN for Instance-Level Human Analysis, 2019. Configurations name this package
in ``custom_imports``.
"""

from saip.downstream.human_parsing.dataset import CIHP
from saip.downstream.human_parsing.head import GCEHead
from saip.downstream.human_parsing.metric import ParsingMetric
from saip.downstream.human_parsing.roi_head import ParsingRoIHead
from saip.downstream.human_parsing.transforms import LoadParsing, ParsingFlip
from saip.downstream.human_parsing.visualizer import ParsingVisualizer

__all__ = [
    'CIHP',
    'GCEHead',
    'LoadParsing',
    'ParsingFlip',
    'ParsingMetric',
    'ParsingRoIHead',
    'ParsingVisualizer',
]
