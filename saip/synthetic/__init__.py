"""Images of people drawn by code, for tests and a first run without any data set."""

from .market import SIZES, MarketSpec, draw_image, list_images, write_market1501
from .person import Person, sample_person
from .rendered_crop import RenderedCrop, plan_crop, render_crop

__all__ = [
    'SIZES',
    'MarketSpec',
    'Person',
    'RenderedCrop',
    'draw_image',
    'list_images',
    'plan_crop',
    'render_crop',
    'sample_person',
    'write_market1501',
]
