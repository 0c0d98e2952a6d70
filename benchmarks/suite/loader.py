"""What a worker of the loader does for an image, against making the views there with Pillow."""

from __future__ import annotations

import torch
from bench_loader import BATCH, PRESET, batch_of, encode_images
from bench_loader import measure as measure_loader
from mmengine.config import Config

from saip.datasets.canvas import decode_image, to_canvas
from saip.registry import MODELS
from suite.figures import Figure, Part
from suite.sizes import Sizes
from suite.training import progress_of

GROUP = 'The loader, one thread, processor time'
GRAY_LEVELS = 3.0


def assert_equal() -> float:
    """Compare the views of both renderers on the same canvases and draws.

    Returns:
        The largest mean difference of a view, in gray levels.

    Raises:
        AssertionError: a view differs by more than three gray levels in the mean.
    """
    recipe = Config.fromfile(PRESET).model.data_preprocessor
    recipe.update(mean=[0.0] * 3, std=[1.0] * 3)
    data = batch_of([to_canvas(decode_image(x), (320, 160)) for x in encode_images(BATCH)])
    made = []
    for renderer in ('device', 'reference'):
        preprocessor = MODELS.build({**recipe, 'renderer': renderer})
        preprocessor.begin_step(progress_of(0))
        made.append(preprocessor(data, training=True)['inputs'])
    worst = 0.0
    for name, view in made[0].by_name.items():
        difference = float((view.images - made[1][name].images).abs().mean())
        assert difference <= GRAY_LEVELS, f'{name}: {difference:.1f} gray levels'
        worst = max(worst, difference)
    return worst


def measure(sizes: Sizes) -> Part:
    """Equality of the views, then decoding and views in turn."""
    worst = assert_equal()
    torch.manual_seed(0)
    found = measure_loader(max(sizes.rounds, 2))
    spent = found['milliseconds_per_image']
    return Part(
        [
            Figure(
                'loader_over_plain',
                'a worker: decoding to a canvas, against decoding and all views with Pillow',
                found['peer_over_worker'],
                goal='at least 15 times',
                note=f'{spent["worker"]} against {spent["peer"]} ms an image; the renderers '
                f'differ by {worst:.1f} gray levels in the mean first',
                group=GROUP,
            ),
            Figure(
                'loader_with_views_over_plain',
                'a worker and the batched views together, on this CPU',
                spent['peer'] / (spent['worker'] + spent['batched_rendering']),
                note=f'views {spent["batched_rendering"]} ms an image',
                group=GROUP,
            ),
            Figure(
                'loader_supply',
                'images a second that 16 such cores supply',
                16e3 / spent['worker'],
                'images/s',
                note='computed from the time of one core',
                group=GROUP,
            ),
        ]
    )
