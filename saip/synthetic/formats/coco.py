"""COCO keypoints and COCO-WholeBody: one set of images with both annotations."""

from __future__ import annotations

from ..scene.plan import Crowding, plan_crowd
from ..scene.render import render_scene
from ..sheet import BLUE, PINK, YELLOW, Card, points_of
from .base import Job, Splits, draw_splits, native
from .coco_format import (
    BONES,
    LEAST_AREA,
    crowd_row,
    detections,
    individuals,
    numbered,
    person_category,
    person_row,
    wholebody_fields,
)

CROWDING = Crowding(people=(1, 4), heights=(0.3, 0.95), far_group=0.12)
DETECTED = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
SIZES = {'tiny': Splits(8, 6, 0, (192, 256)), 'small': Splits(400, 100, 0, (288, 384))}


@native('coco', SIZES)
def write_coco(job: Job[Splits]) -> list[Card]:
    """Write ``{train,val}2017``, ``annotations`` and ``person_detection_results``.

    The annotations are those of COCO's keypoints and of COCO-WholeBody, which uses the same
    images; so ``write_wholebody`` is the same function.
    """
    cards = []
    for split, found in draw_splits(job, _draw, 1):
        images, rows = numbered([(image, rows) for image, rows, _ in found])
        whole = [fields for *_, more in found for fields in more]
        head = {
            'licenses': [{'url': '', 'id': 1, 'name': 'Drawn by code'}],
            'images': images,
            'categories': [person_category()],
        }
        both = [{**row, **more} for row, more in zip(rows, whole, strict=True)]
        for path, what, entries in (
            (f'person_keypoints_{split}2017', 'COCO keypoints', rows),
            (f'coco_wholebody_{split}_v1.0', 'COCO-WholeBody', both),
        ):
            info = {'description': f'Synthetic persons, {what}', 'year': 2017, 'version': '1.0'}
            document = {'info': info, **head, 'annotations': entries}
            job.save_json(f'annotations/{path}.json', document)
        if split == 'val':
            job.save_json(DETECTED, detections(images, rows, job.seed))
        for image in images[:6]:
            cards += _cards(
                split, image, [row for row in both if row['image_id'] == image['id']]
            )
    return cards


write_wholebody = write_coco


def _draw(job: Job[Splits], item: tuple[str, int]) -> tuple[dict, list[dict], list[dict]]:
    """Draw an image: its entry, the annotations, and what COCO-WholeBody adds to each."""
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
    return image, rows, whole


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
