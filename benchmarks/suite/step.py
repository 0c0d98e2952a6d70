"""The whole step against its plain restatement, and the share of its parts."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import count
from typing import Any

import torch

from saip.models.selfsup import Pretrainer
from saip.registry import MODELS
from saip.structures import Views
from suite.figures import Figure, Part
from suite.interleaved import interleave
from suite.plain_step import PlainStep
from suite.sizes import Sizes
from suite.training import build, images, model_config, progress_of, total, wrapper_of

GROUP = 'The step against its plain restatement, float32, one thread, processor time'


def views_of(preprocessor: Any, data: dict, number: int) -> Views:
    """The views of a step."""
    preprocessor.begin_step(progress_of(number))
    return preprocessor(data, training=True)['inputs']


def given_step(model: Pretrainer, wrapper: Any, views: Views, number: int) -> dict:
    """A step of this project on views that are there; returns the losses."""
    model.begin_step(progress_of(number))
    with wrapper.optim_context(model):
        losses = model(views, mode='loss')
    wrapper.update_params(total(losses))
    return losses


def in_double(views: Views) -> Views:
    """The same views in float64."""
    return Views(
        {
            name: replace(view, images=view.images.double())
            for name, view in views.by_name.items()
        },
        {name: x.double() for name, x in views.targets.items()},
    )


def assert_equal(cfg: Any, data: dict) -> float:
    """Compare losses and all that a step moves, in float64, on the same weights and views.

    Returns:
        The largest difference of a weight, moment or center after the step.

    Raises:
        AssertionError: a loss differs by more than 1e-10, or a weight by more than 1e-8.
    """
    model = build(cfg)
    views = views_of(model.data_preprocessor, data, 0)
    views = in_double(views)
    ours, theirs = model.double(), deepcopy(model)
    found = given_step(ours, wrapper_of(ours, 'float32'), views, 0)
    expected = PlainStep(theirs)(views, 0)
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss, rtol=1e-10, atol=1e-10)
    other = theirs.state_dict()
    worst = 0.0
    for name, value in ours.state_dict().items():
        if value.is_floating_point():
            # AdamW divides by the root of a mean square: where a gradient is rounding alone, the
            # first step moves by the whole rate one way or the other.
            torch.testing.assert_close(value, other[name], rtol=0, atol=1e-7, msg=name)
            worst = max(worst, float((value - other[name]).abs().max()))
    return worst


def measure(sizes: Sizes) -> Part:
    """Equality, then whole steps in turn."""
    torch.manual_seed(0)
    cfg = model_config('saip', sizes.encoder)
    worst = assert_equal(cfg, images(2))
    data = images(sizes.batch)
    ours = build(cfg)
    plain = deepcopy(ours)
    wrapper, plain_step = wrapper_of(ours, 'float32'), PlainStep(plain)
    reference = MODELS.build({**cfg.data_preprocessor, 'renderer': 'reference'})
    draws, their_draws = count(), count()  # both make the same views
    latest = views_of(ours.data_preprocessor, data, next(draws))

    def our_views() -> None:
        nonlocal latest
        latest = views_of(ours.data_preprocessor, data, next(draws))

    works = {
        'views': our_views,
        'plain views': lambda: views_of(reference, data, next(their_draws)),
        'step': lambda: given_step(ours, wrapper, latest, 0),
        'plain step': lambda: plain_step(latest, 0),
    }
    times = interleave(works, sizes.rounds)
    whole, plain_whole = ('views', 'step'), ('plain views', 'plain step')
    cost = sum(times.median(name) for name in whole) / sizes.batch
    share = 100 * times.median('views') / (cost * sizes.batch)
    equal = f'equal in float64 first: losses to 1e-10, weights after a step to {worst:.0e}'
    ratio = Figure.of_ratio
    return Part(
        [
            ratio(
                'step_over_plain',
                'whole step',
                times.ratio(plain_whole, whole),
                goal='at least 1.15 times',
                note=f'{sizes.batch} images, {sizes.rounds} rounds; {equal}',
                group=GROUP,
            ),
            ratio(
                'views_over_plain',
                'views: batched against Pillow, image by image',
                times.ratio('plain views', 'views'),
                note='the same draws; equal to a few gray levels (tests)',
                group=GROUP,
            ),
            ratio(
                'training_over_plain',
                'forward, backward, update on given views',
                times.ratio('plain step', 'step'),
                group=GROUP,
            ),
            Figure(
                'step_seconds',
                'the step itself',
                cost,
                'CPU seconds an image',
                group=GROUP,
            ),
            Figure(
                'views_share_cpu',
                'share of the step that is views, on a CPU',
                share,
                '%',
                note='the goal of 10 % is for a GPU',
                group=GROUP,
            ),
        ]
    )
