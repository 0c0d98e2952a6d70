"""AP-10K: animals with 17 landmarks."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saip.datasets.coco import load_json
from saip.datasets.parallel import parallel_map

from ..camera import sample_camera
from ..draw import Placement
from ..rng import SCENE, between, chance, generator
from ..scene.animal import AP10K_NAMES, Animal, sample_animal
from ..scene.plan import ANIMALS
from ..scene.render import Rendered, render_scene
from ..scene.scene import Scene, sample_light
from ..scene.species import SPECIES
from ..scenery import PLACES
from .base import APART, load_rgb, save_jpeg, save_json, write_native
from .coco_format import LEAST_AREA, whole_points, xywh
from .contact_sheet import caption, enlarged, grid, paint_box, paint_points

_FIRST = {'train': 1, 'val': 1 + APART // 4, 'test': 1 + APART // 2}
SKELETON = (
    (1, 2),
    (1, 3),
    (2, 3),
    (3, 4),
    (4, 5),
    (4, 6),
    (6, 7),
    (7, 8),
    (4, 9),
    (9, 10),
    (10, 11),
    (5, 12),
    (12, 13),
    (13, 14),
    (5, 15),
    (15, 16),
    (16, 17),
)


@dataclass(frozen=True)
class Size:
    """Images per split and their size (h, w)."""

    train: int
    val: int
    test: int
    size: tuple[int, int]


SIZES = {'tiny': Size(12, 4, 8, (160, 224)), 'small': Size(400, 60, 120, (224, 320))}


def write_ap10k(
    out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
) -> bool:
    """Write ``data/*.jpg`` and ``annotations/ap10k-{train,val,test}-split1.json``."""

    def fill(root: Path, spec: Size) -> np.ndarray:
        splits = {'train': spec.train, 'val': spec.val, 'test': spec.test}
        for split, count in splits.items():
            numbers = range(_FIRST[split], _FIRST[split] + count)
            draw = functools.partial(_draw, root=root, seed=seed, size=spec.size)
            found = parallel_map(draw, numbers, workers, f'{split} images of AP-10K drawn')
            _save(root, split, found)
        return _sheet(root)

    return write_native(out, 'ap10k', SIZES, size, seed, fill)


def plan_animals(seed: int, number: int, size: tuple[int, int]) -> Scene:
    """Plan a scene with one animal, or two; depends on nothing but the arguments."""
    rng = generator(seed, SCENE, ANIMALS, number)
    animals = []
    for index in range(2 if chance(rng, 0.25) else 1):
        tall = between(rng, 0.3, 0.5) if index else between(rng, 0.4, 0.7)
        place = Placement(between(rng, 0.3, 0.7), between(rng, 0.5, 0.6) + 0.5 * tall, tall)
        animals.append(sample_animal(seed, 2 * number + index, place))
    animals.sort(key=lambda animal: animal.place.ground)
    return Scene(
        size=size,
        subjects=tuple(animals),
        things=(),
        camera=sample_camera(seed, 1 + int(rng.integers(8))),
        light=sample_light(rng),
        place=int(rng.integers(PLACES)),
        window=(between(rng, 0, 1), between(rng, 0.7, 1.0), between(rng, 0.5, 1.0)),
        key=(seed, ANIMALS, number),
    )


def _draw(number: int, root: Path, seed: int, size: tuple[int, int]) -> tuple[dict, list[dict]]:
    scene = plan_animals(seed, number, size)
    rendered = render_scene(scene)
    name = f'{number:012d}.jpg'
    save_jpeg(root / 'data' / name, rendered.image, scene.camera.quality)
    image = {
        'license': 1,
        'id': number,
        'file_name': name,
        'width': size[1],
        'height': size[0],
        'background': 1 + scene.place,
    }
    return image, _rows(rendered, number)


def _rows(rendered: Rendered, image: int) -> list[dict]:
    rows = []
    for number, seen in enumerate(rendered.seen):
        box = rendered.visible(number)
        if box is None or rendered.mask(number).sum() < LEAST_AREA:
            continue
        assert isinstance(seen.subject, Animal)
        x, y, width, height = (int(value) for value in xywh(box))
        points = whole_points(seen.landmarks)
        rows.append({
            'image_id': image,
            'category_id': seen.subject.species.category,
            'bbox': [x, y, width, height],
            'area': width * height,
            'iscrowd': 0,
            'num_keypoints': int((points[:, 2] > 0).sum()),
            'keypoints': points.flatten().tolist(),
        })  # fmt: skip
    return rows


def _save(root: Path, split: str, found: list[tuple[dict, list[dict]]]) -> None:
    rows = [row for _, rows in found for row in rows]
    rows = [{'id': number + 1, **row} for number, row in enumerate(rows)]
    categories = [
        {
            'id': species.category,
            'name': species.name,
            'supercategory': species.family,
            'keypoints': list(AP10K_NAMES),
            'skeleton': [list(bone) for bone in SKELETON],
        }
        for species in SPECIES
    ]
    document = {
        'info': {'description': 'Drawn animals, AP-10K', 'version': '1.0', 'year': 2021},
        'licenses': [{'id': 1, 'name': 'Drawn by code', 'url': ''}],
        'images': [image for image, _ in found],
        'annotations': rows,
        'categories': categories,
    }
    save_json(root / 'annotations' / f'ap10k-{split}-split1.json', document)


def _sheet(root: Path) -> np.ndarray:
    names = {species.category: species.name for species in SPECIES}
    bones = [(one - 1, two - 1) for one, two in SKELETON]
    cells = []
    for split in ('train', 'test'):
        document = load_json(root / 'annotations' / f'ap10k-{split}-split1.json')
        assert isinstance(document, dict)
        for image in document['images'][:8]:
            canvas, words = enlarged(load_rgb(root / 'data' / image['file_name']), 2), []
            for row in document['annotations']:
                if row['image_id'] == image['id']:
                    words.append(names[row['category_id']])
                    paint_box(canvas, row['bbox'], (90, 200, 250), 2)
                    paint_points(canvas, np.array(row['keypoints']).reshape(-1, 3), bones, 2)
            cells.append(caption(canvas, words, 60))
    return grid(cells, 4)
