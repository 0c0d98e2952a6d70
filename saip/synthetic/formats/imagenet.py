"""ImageNet-1k: class folders of animals, named by their numbers in WordNet."""

from __future__ import annotations

from dataclasses import replace

from ..person import Color
from ..scene.animal import Animal
from ..scene.plan import plan_animals
from ..scene.render import render_scene
from ..sheet import Card
from .base import APART, Job, Splits, draw_splits, native

SIZES = {'tiny': Splits(32, 16, 0, (96, 128)), 'small': Splits(1600, 320, 0, (160, 208))}
# There is one kind of animal; its coat decides under which of ImageNet's names it goes.
CLASSES: tuple[tuple[str, str, str, Color], ...] = (
    ('n02099712', 'Labrador retriever', 'plain', (218, 190, 140)),
    ('n02110341', 'dalmatian', 'spots', (222, 220, 214)),
    ('n02128385', 'leopard', 'spots', (196, 148, 74)),
    ('n02129604', 'tiger', 'stripes', (204, 122, 48)),
    ('n02132136', 'brown bear', 'plain', (74, 52, 40)),
    ('n02391049', 'zebra', 'stripes', (214, 206, 194)),
    ('n02403003', 'ox', 'patches', (118, 72, 48)),
    ('n02510455', 'giant panda', 'patches', (226, 224, 220)),
)


@native('imagenet', SIZES)
def write_imagenet(job: Job[Splits]) -> list[Card]:
    """Write ``train/CLASS/*.JPEG`` and ``val/CLASS/*.JPEG``, the same number of each class."""
    cards = []
    for _, found in draw_splits(job, _draw, 8 * APART):
        cards += found[: len(CLASSES)]
    return cards


def _draw(job: Job[Splits], item: tuple[str, int]) -> Card:
    split, number = item
    wnid, name, pattern, coat = CLASSES[number % len(CLASSES)]
    scene = plan_animals(job.seed, number, job.spec.size)
    animals = (subject for subject in scene.subjects if isinstance(subject, Animal))
    alike = tuple(replace(animal, pattern=pattern, coat=coat) for animal in animals)
    annotated = render_scene(replace(scene, subjects=alike))
    file = f'{wnid}_{number}' if split == 'train' else f'ILSVRC2012_val_{number:08d}'
    path = f'{split}/{wnid}/{file}.JPEG'
    job.save(path, annotated.image, annotated.quality)
    return Card(path, [name])
