"""Views of an image: types with their draws, maskers, and renderers that follow the draws."""

from saip.views.augment import Augment
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType, stream
from saip.views.crop import Crop
from saip.views.crop_draw import CropDraw
from saip.views.device import DeviceOps
from saip.views.masked import Masked
from saip.views.maskers import (
    BlockMask,
    ComplementMask,
    MaskDraw,
    Masker,
    OfficialMask,
    PartMask,
    RandomMask,
)
from saip.views.numbers import Bernoulli, Numbers, Uniform
from saip.views.official import OfficialCrop, OfficialRescale, OfficialScene
from saip.views.ops import RenderOps, render
from saip.views.random import uniforms
from saip.views.recipe import Recipe, ViewPlan
from saip.views.recut import Recut
from saip.views.reference import ReferenceOps
from saip.views.rescale import Rescale
from saip.views.same import Same
from saip.views.scene import Scene

__all__ = [
    'Augment',
    'Bernoulli',
    'BlockMask',
    'Clock',
    'ComplementMask',
    'Crop',
    'CropDraw',
    'DeviceOps',
    'Draw',
    'Frame',
    'HostBatch',
    'MaskDraw',
    'Masked',
    'Masker',
    'Numbers',
    'OfficialCrop',
    'OfficialMask',
    'OfficialRescale',
    'OfficialScene',
    'PartMask',
    'RandomMask',
    'Recipe',
    'Recut',
    'ReferenceOps',
    'RenderOps',
    'Rescale',
    'Same',
    'Scene',
    'Uniform',
    'ViewPlan',
    'ViewType',
    'render',
    'stream',
    'uniforms',
]
