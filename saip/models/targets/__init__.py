"""Targets: what a decoder predicts of hidden patches."""

from saip.models.targets.base import BaseTarget
from saip.models.targets.hog import HOGTarget
from saip.models.targets.pixels import PixelTarget
from saip.models.targets.tokens import TokenTarget

__all__ = ['BaseTarget', 'HOGTarget', 'PixelTarget', 'TokenTarget']
