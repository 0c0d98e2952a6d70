"""ChimpACT's pose track: clips of animals with 16 landmarks on every tenth frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..scene.animal import NAMES, Animal
from ..scene.plan import plan_animals
from ..scene.render import render_scene
from ..scene.scene import Scene
from ..sheet import BLUE, PINK, Card, points_of
from .base import APART, Job, Splits, draw_splits, native
from .coco_format import LEAST_AREA, individuals, whole_points, xywh

# Numbers of clips.
SIZES = {'tiny': Splits(4, 2, 3, (144, 208)), 'small': Splits(80, 16, 24, (208, 304))}
# Every fifth frame is drawn, every tenth is a key frame.
FRAMES, KEY = range(0, 21, 5), 10
# Clips are counted from 0 in every split.
_CLIPS = APART // 4
# ChimpACT's names in its order, and the landmarks of the animal.
LANDMARKS = {
    'pelvis': 'pelvis',
    'right_knee': 'right_knee', 'right_ankle': 'right_back_paw',
    'left_knee': 'left_knee', 'left_ankle': 'left_back_paw',
    'neck': 'neck', 'upper_lip': 'upper_lip', 'lower_lip': 'lower_lip',
    'right_eye': 'right_eye', 'left_eye': 'left_eye',
    'right_shoulder': 'right_shoulder', 'right_elbow': 'right_elbow',
    'right_wrist': 'right_front_paw',
    'left_shoulder': 'left_shoulder', 'left_elbow': 'left_elbow',
    'left_wrist': 'left_front_paw',
}  # fmt: skip
_PLACES = [NAMES.index(name) for name in LANDMARKS.values()]
_BONES = (
    (0, 1), (1, 2), (0, 3), (3, 4), (0, 5), (5, 6), (6, 7), (6, 8), (6, 9), (5, 10), (10, 11),
    (11, 12), (5, 13), (13, 14), (14, 15),
)  # fmt: skip
# Boxes (x, y, width, height) and landmarks of the animals of a frame, by their number.
Found = dict[int, tuple[list[float], list[int]]]


@native('chimpact', SIZES)
def write_chimpact(job: Job[Splits]) -> list[Card]:
    """Write ``{train,val,test}/images/CLIP/*.jpg`` and ``annotations/{train,val,test}.json``.

    Between key frames boxes are interpolated and ``keypoints`` is empty, as in the annotations
    that ChimpACT's converter makes.
    """
    cards: list[Card] = []
    for split, clips in draw_splits(job, _draw, APART):
        document: dict[str, list[dict]] = {
            'categories': [{'id': 1, 'name': 'chimpanzee'}],
            'videos': [],
            'images': [],
            'annotations': [],
        }
        for number, found in enumerate(clips):
            _add_clip(document, number, found, job.spec.size)
        job.save_json(f'annotations/{split}.json', document)
        cards += [_card(split, image, document) for image in document['images'][:5]]
    return cards


def _draw(job: Job[Splits], item: tuple[str, int]) -> list[Found]:
    split, number = item
    scene, found = plan_animals(job.seed, number, job.spec.size), []
    for frame in FRAMES:
        annotated = render_scene(_at(scene, frame))
        path = f'{split}/images/{_clip(number % _CLIPS)}/{frame:06d}.jpg'
        job.save(path, annotated.image, annotated.quality)
        animals: Found = {}
        for animal, seen, _, box in individuals(annotated, LEAST_AREA):
            points = whole_points(seen.landmarks[_PLACES])
            animals[animal] = (xywh(box), points.flatten().tolist())
        found.append(animals)
    return found


def _at(scene: Scene, frame: int) -> Scene:
    """The scene so many frames later: the animals walk on."""
    moved = []
    for animal in scene.subjects:
        assert isinstance(animal, Animal)
        step = 0.004 * frame * animal.stride * float(np.sin(animal.view.yaw))
        place = replace(animal.place, x=animal.place.x + step)
        moved.append(replace(animal, place=place, phase=animal.phase + 0.12 * frame))
    return replace(scene, subjects=tuple(moved), key=(*scene.key, frame))


def _clip(number: int) -> str:
    return f'Drawn_2015_01_01_a_clip_{1000 * number}_{1000 * (number + 1)}'


def _add_clip(
    document: dict[str, list[dict]], number: int, found: list[Found], size: tuple[int, int]
) -> None:
    height, width = size
    video = {
        'id': number + 1,
        'name': f'{_clip(number)}.mp4',
        'fps': 25.0,
        'frames': FRAMES.stop,
    }
    document['videos'].append({**video, 'width': width, 'height': height})
    per_key = KEY // FRAMES.step
    for place, frame in enumerate(FRAMES):
        image = {
            'id': len(document['images']) + 1,
            'video_id': number + 1,
            'file_name': f'{_clip(number)}/{frame:06d}.jpg',
            'height': height,
            'width': width,
            'frame_id': place,
        }
        document['images'].append(image)
        before = found[place // per_key * per_key]
        after = found[min(-(-place // per_key) * per_key, len(found) - 1)]
        share = frame % KEY / KEY
        for animal, (box, points) in before.items():
            later = after.get(animal, (box, points))[0]
            here = [
                (1 - share) * one + share * two for one, two in zip(box, later, strict=True)
            ]
            document['annotations'].append({
                'id': len(document['annotations']) + 1,
                'video_id': number + 1,
                'image_id': image['id'],
                'category_id': 1,
                'bbox': here,
                'area': here[2] * here[3],
                'iscrowd': False,
                'visibility': 0,
                'behaviors': [],
                'keypoints': [] if share else points,
                'iskeyframe': int(not share),
                'instance_id': animal,
            })  # fmt: skip


def _card(split: str, image: dict, document: dict[str, list[dict]]) -> Card:
    rows = [row for row in document['annotations'] if row['image_id'] == image['id']]
    return Card(
        f'{split}/images/{image["file_name"]}',
        boxes=[(row['bbox'], BLUE if row['iskeyframe'] else PINK) for row in rows],
        points=[points_of(row['keypoints']) for row in rows if row['keypoints']],
        bones=_BONES,
    )
