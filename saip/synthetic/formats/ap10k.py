"""AP-10K: animals with 17 landmarks."""

from __future__ import annotations

from ..scene.animal import NAMES, Animal
from ..scene.plan import plan_animals
from ..scene.render import Annotated, render_scene
from ..sheet import BLUE, Card, points_of
from .base import Job, Splits, draw_splits, native
from .coco_format import LEAST_AREA, individuals, numbered, whole_points, xywh

SIZES = {'tiny': Splits(12, 4, 8, (160, 224)), 'small': Splits(400, 60, 120, (224, 320))}
AP10K_NAMES = NAMES[:17]
SKELETON = (
    (1, 2), (1, 3), (2, 3), (3, 4), (4, 5), (4, 6), (6, 7), (7, 8), (4, 9), (9, 10), (10, 11),
    (5, 12), (12, 13), (13, 14), (5, 15), (15, 16), (16, 17),
)  # fmt: skip
# There is one kind of animal; its coat decides under which of AP-10K's names it goes.
KINDS = {
    'patches': (5, 'cow', 'Bovidae'),
    'plain': (8, 'dog', 'Canidae'),
    'stripes': (22, 'zebra', 'Equidae'),
    'spots': (28, 'leopard', 'Felidae'),
}


@native('ap10k', SIZES)
def write_ap10k(job: Job[Splits]) -> list[Card]:
    """Write ``data/*.jpg`` and ``annotations/ap10k-{train,val,test}-split1.json``."""
    cards = []
    for split, found in draw_splits(job, _draw, 1):
        images, rows = numbered(found)
        categories = [
            {
                'id': number,
                'name': name,
                'supercategory': family,
                'keypoints': list(AP10K_NAMES),
                'skeleton': [list(bone) for bone in SKELETON],
            }
            for number, name, family in KINDS.values()
        ]
        document = {
            'info': {'description': 'Drawn animals, AP-10K', 'version': '1.0', 'year': 2021},
            'licenses': [{'id': 1, 'name': 'Drawn by code', 'url': ''}],
            'images': images,
            'annotations': rows,
            'categories': categories,
        }
        job.save_json(f'annotations/ap10k-{split}-split1.json', document)
        cards += [_card(*one) for one in found[:6]]
    return cards


def _draw(job: Job[Splits], item: tuple[str, int]) -> tuple[dict, list[dict]]:
    number = item[1]
    scene = plan_animals(job.seed, number, job.spec.size)
    annotated = render_scene(scene)
    name = f'{number:012d}.jpg'
    job.save(f'data/{name}', annotated.image, annotated.quality)
    height, width = job.spec.size
    image = {
        'license': 1,
        'id': number,
        'file_name': name,
        'width': width,
        'height': height,
        'background': 1 + scene.place,
    }
    return image, _rows(annotated, number)


def _rows(annotated: Annotated, image: int) -> list[dict]:
    rows = []
    for _, seen, _, box in individuals(annotated, LEAST_AREA):
        assert isinstance(seen.subject, Animal)
        x, y, width, height = (int(value) for value in xywh(box))
        points = whole_points(seen.landmarks[: len(AP10K_NAMES)])
        rows.append({
            'image_id': image,
            'category_id': KINDS[seen.subject.pattern][0],
            'bbox': [x, y, width, height],
            'area': width * height,
            'iscrowd': 0,
            'num_keypoints': int((points[:, 2] > 0).sum()),
            'keypoints': points.flatten().tolist(),
        })  # fmt: skip
    return rows


def _card(image: dict, rows: list[dict]) -> Card:
    names = {number: name for number, name, _ in KINDS.values()}
    return Card(
        f'data/{image["file_name"]}',
        [names[row['category_id']] for row in rows],
        [(row['bbox'], BLUE) for row in rows],
        points=[points_of(row['keypoints']) for row in rows],
        bones=[(one - 1, two - 1) for one, two in SKELETON],
    )
