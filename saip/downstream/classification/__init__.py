"""Classification of images: data set and check of its classes. Importing registers them.

Encoders are fine-tuned on mmpretrain's ``ImageClassifier``. Configurations name this package in
``custom_imports``.
"""

from saip.downstream.classification.dataset import ImageNet
from saip.downstream.classification.hook import ClassCountHook

__all__ = ['ClassCountHook', 'ImageNet']
