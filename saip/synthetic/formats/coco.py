"""COCO keypoints, COCO-WholeBody and COCO instances: one set of images, three annotations."""

from __future__ import annotations

from saip.datasets.coco_categories import CATEGORIES

from ..scene.actor import Actor
from ..scene.parts import codes
from ..scene.plan import Crowding, plan_crowd
from ..scene.render import Annotated, render_scene
from ..sheet import BLUE, PINK, YELLOW, Card, points_of
from .base import Job, Splits, draw_splits, native
from .coco_format import (
    BONES,
    LEAST_AREA,
    crowd_row,
    detections,
    individuals,
    numbered,
    object_row,
    person_category,
    person_row,
    wholebody_fields,
)

CROWDING = Crowding(people=(1, 4), heights=(0.3, 0.95), far_group=0.12)
FIELDS = ('segmentation', 'area', 'iscrowd', 'image_id', 'bbox', 'category_id')
"""Of the annotation of an object; its id comes later."""
# A bag of which fewer pixels are seen is not annotated.
LEAST_BAG = 12
DETECTED = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
BAGS = {'backpack': 27, 'shoulder': 31, 'handbag': 31}
"""Categories of bags by their kinds."""
SIZES = {'tiny': Splits(8, 6, 0, (192, 256)), 'small': Splits(400, 100, 0, (288, 384))}


@native('coco', SIZES)
def write_coco(job: Job[Splits]) -> list[Card]:
    """Write ``{train,val}2017``, ``annotations`` and ``person_detection_results``.

    The annotations are those of COCO's keypoints, of COCO's objects (people and their bags, all 80
    categories are named) and of COCO-WholeBody, which use the same images; so ``write_wholebody``
    is the same function.
    """
    cards = []
    for split, found in draw_splits(job, _draw, 1):
        images, rows = numbered([(image, rows) for image, rows, *_ in found])
        whole = [fields for _, _, more, _ in found for fields in more]
        _, objects = numbered([(image, things) for image, *_, things in found])
        both = [{**row, **more} for row, more in zip(rows, whole, strict=True)]
        person = [person_category()]
        for path, what, categories, entries in (
            (f'person_keypoints_{split}2017', 'COCO keypoints', person, rows),
            (f'coco_wholebody_{split}_v1.0', 'COCO-WholeBody', person, both),
            (f'instances_{split}2017', 'COCO instances', list(CATEGORIES), objects),
        ):
            document = {
                'info': {
                    'description': f'Synthetic persons, {what}',
                    'year': 2017,
                    'version': '1.0',
                },
                'licenses': [{'url': '', 'id': 1, 'name': 'Drawn by code'}],
                'images': images,
                'annotations': entries,
                'categories': categories,
            }
            job.save_json(f'annotations/{path}.json', document)
        if split == 'val':
            job.save_json(DETECTED, detections(images, rows, job.seed))
        for image in images[:6]:
            cards += _cards(
                split, image, [row for row in both if row['image_id'] == image['id']]
            )
    return cards


write_wholebody = write_coco


def _draw(
    job: Job[Splits], item: tuple[str, int]
) -> tuple[dict, list[dict], list[dict], list[dict]]:
    """Draw an image: its entry, people, what COCO-WholeBody adds to each, and all objects."""
    split, number = item
    annotated = render_scene(plan_crowd(job.seed, number, job.spec.size, CROWDING))
    name = f'{number:012d}.jpg'
    job.save(f'{split}2017/{name}', annotated.image, annotated.quality)
    people = list(individuals(annotated, LEAST_AREA))
    rows = [person_row(seen, mask, box, number) for _, seen, mask, box in people]
    rows += crowd_row(annotated, number)
    whole = [wholebody_fields(seen) for _, seen, _, _ in people]
    whole += [wholebody_fields(None)] * (len(rows) - len(whole))
    image = {
        'license': 1,
        'file_name': name,
        'coco_url': '',
        'height': job.spec.size[0],
        'width': job.spec.size[1],
        'date_captured': '2017-01-01 00:00:00',
        'flickr_url': '',
        'id': number,
    }
    objects = [{key: row[key] for key in FIELDS} for row in rows]
    return image, rows, whole, objects + _bags(annotated, number)


def _bags(annotated: Annotated, image_id: int) -> list[dict]:
    """Return the annotations of bags that people carry who can be told apart."""
    rows = []
    for number, seen in enumerate(annotated.seen):
        assert isinstance(seen.subject, Actor)
        mask = annotated.shown(number, codes('bag'))
        if not seen.subject.group and mask.sum() >= LEAST_BAG:
            kind = seen.subject.character.person.bag.kind
            rows.append(object_row(mask, BAGS[kind], image_id))
    return rows


def _cards(split: str, image: dict, rows: list[dict]) -> list[Card]:
    """Once with the body, once with feet, face and hands."""
    path, people = f'{split}2017/{image["file_name"]}', [r for r in rows if not r['iscrowd']]
    outlines = [outline for row in people for outline in row['segmentation']]
    boxes = [(row['bbox'], PINK if row['iscrowd'] else BLUE) for row in rows]
    body = [points_of(row['keypoints']) for row in people]
    names = ('keypoints', 'foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts')
    whole = [points_of(row[name]) for row in people for name in names]
    parts = [
        (row[f'{part}_box'], YELLOW)
        for row in people
        for part in ('face', 'lefthand', 'righthand')
        if row[f'{part}_valid']
    ]
    return [
        Card(path, boxes=boxes, outlines=outlines, points=body, bones=BONES),
        Card(path, boxes=parts, points=whole),
    ]
