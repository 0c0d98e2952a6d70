r"""Draw downstream results against the size and cost of the encoders (the paper's Figure 2).

python tools/visualization/draw_costs.py --metric coco/AP --out costs.png \
    SAIP=work_dirs/vitpose_coco_vit-tiny-p16 SAIP=work_dirs/vitpose_coco_starnet-s3 \
    DINO=work_dirs/dino/vitpose_coco_vit-tiny-p16

Results are read from the logs that trainings and tests write into their work directories, costs
are counted. What is drawn lies beside the image as JSON, which is taken in place of work
directories, too.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import sys
from pathlib import Path

from saip.analysis.cost_tables import SIZE
from saip.configs import backbone_folder
from saip.datasets.files import write_atomic
from saip.errors import InputError, one_line_errors
from saip.experiments.encoder_results import (
    EncoderResult,
    read_result,
    read_results,
    write_results,
)
from saip.visualization.cost_chart import draw_cost_chart
from saip.visualization.png import check_png, write_png


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Draw results against costs of encoders')
    parser.add_argument(
        'records',
        nargs='+',
        metavar='RECORD',
        help='work directory, WORK_DIR or SERIES=WORK_DIR, or JSON that this tool wrote',
    )
    parser.add_argument('--metric', required=True, help='as the log names it, such as coco/AP')
    parser.add_argument('--out', type=Path, required=True, help='PNG to write')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=SIZE,
        metavar=('H', 'W'),
        help='of the image that operations are counted for (default: 256 128, whatever the size '
        'of the trainings; a warning names those that differ)',
    )
    args = parser.parse_args()
    if min(args.size) < 1:
        parser.error('--size: height and width are pixels, at least 1')
    check_png('--out', args.out)
    return args


@one_line_errors()
def main() -> None:
    """Read, draw, write."""
    args = parse_args()
    size = tuple(args.size)
    results = [result for text in args.records for result in _read(text, args.metric, size)]
    for result in results:
        if (result.metric, result.size) != (args.metric, size):
            raise InputError(
                f'{result.source}: {result.metric} with costs at {result.size[0]}x'
                f'{result.size[1]}, not {args.metric} at {size[0]}x{size[1]}'
            )
    _warn_of_other_sizes(results)
    chart = draw_cost_chart(results, args.metric, f'GFLOPs per image of {size[0]}x{size[1]}')
    write_png(args.out, chart)
    write_atomic(args.out.with_suffix('.json'), write_results(results).encode())
    print(f'{args.out}\n{args.out.with_suffix(".json")}')


def _warn_of_other_sizes(results: list[EncoderResult]) -> None:
    """Say which results were reached at another size than the one that is counted."""
    for result in results:
        if result.trained_size not in (None, result.size):
            counted, trained = (f'{h}x{w}' for h, w in (result.size, result.trained_size))
            print(
                f'warning: {result.source}: trained at {trained}, but operations are counted at '
                f'{counted}; --size {trained.replace("x", " ")} counts those of this run',
                file=sys.stderr,
            )


def _read(text: str, metric: str, size: tuple[int, int]) -> list[EncoderResult]:
    """The results of one argument."""
    series, equals, place = text.partition('=')
    if not equals or Path(text).exists():
        series, place = '', text
    path = Path(place)
    if path.is_file():
        return read_results(path)
    return [read_result(path, metric, backbone_folder(), size, series)]


if __name__ == '__main__':
    main()
