"""LIP: crops of persons and part maps with 20 labels."""

from __future__ import annotations

from ..scene.appearance import Appearance
from ..scene.parts import LIP_LABELS, lip_table
from ..sheet import Card
from .base import APART, Job, Splits, draw_splits, native
from .portraits import draw_portrait

SIZES = {'tiny': Splits(12, 8, 0, (96, 128)), 'small': Splits(400, 100, 0, (160, 220))}


@native('lip', SIZES)
def write_lip(job: Job[Splits]) -> list[Card]:
    """Write ``{train,val}_images``, ``{train,val}_segmentations`` and lists of their stems."""
    cards = []
    for split, stems in draw_splits(job, _draw, 3 * APART):
        text = ''.join(f'{stem}\n' for stem in stems)
        (job.root / f'{split}_id.txt').write_text(text, encoding='utf-8')
        cards += [
            Card(
                f'{split}_images/{stem}.jpg',
                labels=f'{split}_segmentations/{stem}.png',
                names=LIP_LABELS,
            )
            for stem in stems[:8]
        ]
    return cards


def _draw(job: Job[Splits], item: tuple[str, int]) -> str:
    split, identity = item
    portrait = draw_portrait(job.seed, identity, 0, job.spec.size, (0.5, 0.75), lively=True)
    stem = f'{identity}_{500_000 + identity}'
    job.save(f'{split}_images/{stem}.jpg', portrait.image, portrait.quality)
    table = lip_table(Appearance(portrait, portrait.main).character)
    job.save(f'{split}_segmentations/{stem}.png', portrait.parts(portrait.main, table))
    return stem
