"""A few images in the public layout of LIP."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = {
    'train': [(60, 30), (40, 50), (64, 64), (70, 40)],
    'val': [(50, 30), (33, 61), (64, 48)],
}
"""(height, width) of each image."""


def part_map(height: int, width: int, shift: int = 0) -> np.ndarray:
    """A person of blocks: hair, face, clothes, arms at its sides, legs; background around."""
    labels = np.zeros((height, width), np.uint8)
    rows = [int(height * at) for at in (0.1, 0.2, 0.3, 0.6, 0.95)]
    left, middle, right = width // 3, width // 2, 2 * width // 3
    labels[rows[0] : rows[1], left:right] = 2
    labels[rows[1] : rows[2], left:right] = 13
    labels[rows[2] : rows[3], left:right] = 5
    labels[rows[2] : rows[3], width // 5 : left] = 15
    labels[rows[2] : rows[3], right : width - width // 5] = 14
    labels[rows[3] : rows[4], left:middle] = 17
    labels[rows[3] : rows[4], middle:right] = 16
    return np.roll(labels, shift, axis=1)


def write_lip(root: Path) -> Path:
    """Write the set; the color of a pixel follows from its part, with noise."""
    generator = np.random.default_rng(0)
    colors = generator.integers(0, 256, (20, 3))
    for split, sizes in SIZES.items():
        for kind in ('images', 'segmentations'):
            (root / f'{split}_{kind}').mkdir(parents=True)
        names = [f'{100 + number}_{200 + number}' for number in range(len(sizes))]
        for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
            labels = part_map(*size, shift=number)
            noise = generator.integers(-9, 10, (*size, 3))
            image = np.clip(colors[labels] + noise, 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / f'{split}_images/{name}.jpg')
            Image.fromarray(labels).save(root / f'{split}_segmentations/{name}.png')
        (root / f'{split}_id.txt').write_text('\n'.join(names) + '\n')
    return root
