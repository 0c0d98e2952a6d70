"""Text-to-image person re-identification: data sets, model, losses and metric.

The method is IRRA (Jiang and Ye, 2023) with any encoder of saip in the place of CLIP's image
encoder. Importing registers the classes; configurations name this package in ``custom_imports``.
"""

from saip.downstream.text_reid.datasets import CUHKPEDES, ICFGPEDES
from saip.downstream.text_reid.head import IRRAHead
from saip.downstream.text_reid.hook import TokenizerHook
from saip.downstream.text_reid.metric import TextReIDMetric
from saip.downstream.text_reid.model import TextReID
from saip.downstream.text_reid.tokenizer import CaptionTokenizer
from saip.downstream.text_reid.transformer import CLIPTextTransformer

__all__ = [
    'CUHKPEDES',
    'ICFGPEDES',
    'CLIPTextTransformer',
    'CaptionTokenizer',
    'IRRAHead',
    'TextReID',
    'TextReIDMetric',
    'TokenizerHook',
]
