"""Draw all views of one training image, the masked patches and the scene.

python tools/visualization/browse_views.py CONFIG --index 7 --epoch 3 --out views.png
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from mmengine.registry import init_default_scope
from PIL import Image
from torch.utils.data import default_collate

from saip.engine.launch import read_config
from saip.engine.options import OptionAction
from saip.errors import InputError, library_refusals, one_line_errors
from saip.registry import DATASETS, MODELS
from saip.structures import Progress
from saip.visualization.png import check_png, write_png
from saip.visualization.views import draw_views

NEIGHBORS = 16


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Draw the views of one training image')
    parser.add_argument('config', type=Path, help='pretraining config')
    parser.add_argument('--index', type=int, default=0, help='position in the training set')
    parser.add_argument('--epoch', type=int, default=0, help='its random numbers are drawn')
    parser.add_argument('--out', type=Path, default=Path('views.png'), help='PNG to write')
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction, help='key=value ...')
    return parser.parse_args()


def browse(config: Path, index: int, epoch: int, options: dict | None) -> Image.Image:
    """Draw the views of image ``index`` in ``epoch``.

    Its neighbors in the data set make up the micro-batch, from which backgrounds are taken.

    Raises:
        InputError: the config cannot be read, is not one of a pretraining or names something
            wrong, or there is no such image.
    """
    cfg = read_config(str(config), options)
    init_default_scope('saip')
    for part in ('train_dataloader', 'model'):
        if part not in cfg:
            raise InputError(f'{config}: has no {part}; a pretraining config is needed')
    with library_refusals(str(config)):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        preprocessor = MODELS.build(cfg.model.data_preprocessor)
    if not 0 <= index < len(dataset):
        raise InputError(f'--index {index}: the training set has {len(dataset)} images')
    count = min(NEIGHBORS, len(dataset))
    batch = default_collate([dataset[(index + i) % len(dataset)] for i in range(count)])
    per_epoch = len(dataset)
    progress = Progress.at(epoch * per_epoch + index, (epoch + 1) * per_epoch, per_epoch)
    preprocessor.begin_step(progress)
    views = preprocessor(batch, training=True)['inputs']
    return draw_views(views, preprocessor, 0, batch['canvas'][0])


@one_line_errors()
def main() -> None:
    """Write the image."""
    args = parse_args()
    check_png('--out', args.out)
    write_png(args.out, browse(args.config, args.index, args.epoch, args.cfg_options))
    print(args.out)


if __name__ == '__main__':
    main()
