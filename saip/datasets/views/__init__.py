"""Views of a picture: plans of random numbers, and renderers that follow them."""

from saip.datasets.views.base import Renderer
from saip.datasets.views.checks import check_recipe
from saip.datasets.views.plan import Clock, ViewPlan, draw_plan, draw_two_views
from saip.datasets.views.random import uniforms
from saip.datasets.views.random_view import RandomView
from saip.datasets.views.recipe import Recipe, build_recipe
from saip.datasets.views.reference import ReferenceRenderer
from saip.datasets.views.render import DeviceRenderer
from saip.datasets.views.scene import cell_targets
from saip.datasets.views.sizes import masked_grids

__all__ = [
    'Clock',
    'DeviceRenderer',
    'RandomView',
    'Recipe',
    'ReferenceRenderer',
    'Renderer',
    'ViewPlan',
    'build_recipe',
    'cell_targets',
    'check_recipe',
    'draw_plan',
    'draw_two_views',
    'masked_grids',
    'uniforms',
]
