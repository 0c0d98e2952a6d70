"""A small set in the layout of ChimpACT: clips, key frames, and frames between them."""

import json
from pathlib import Path

import cv2
import numpy as np

SIZE = (120, 160)  # (height, width)
CLIPS = {'train': 4, 'val': 2, 'test': 4}
LANDMARKS = 16


def write_chimpact(root: Path) -> None:
    """Write annotations of all frames, and the images of the key frames alone."""
    for number, (split, clips) in enumerate(CLIPS.items()):
        rng = np.random.default_rng(number)
        document: dict = {'categories': [{'id': 1, 'name': 'chimpanzee'}]}
        document |= {'videos': [], 'images': [], 'annotations': []}
        for clip in range(clips):
            name = f'Azibo_ObsChimp_2015_0{number}_clip_{clip}000'
            document['videos'].append({'id': clip + 1, 'name': f'{name}.mp4'})
            for frame in range(0, 14, 2):
                _add_frame(document, root / split / 'images', name, clip, frame, rng)
        file = root / 'annotations' / f'{split}.json'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))


def _add_frame(
    document: dict, folder: Path, clip: str, video: int, frame: int, rng: np.random.Generator
) -> None:
    key = frame % 10 == 0
    image = {
        'id': len(document['images']) + 1,
        'video_id': video + 1,
        'file_name': f'{clip}/{frame:06d}.jpg',
        'height': SIZE[0],
        'width': SIZE[1],
        'frame_id': frame,
    }
    document['images'].append(image)
    if key:
        path = folder / image['file_name']
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (*SIZE, 3), np.uint8))
    for hidden in (False, True):
        x, y = rng.uniform(5, 40, 2)
        width, height = rng.uniform(40, 70, 2)
        marks = rng.uniform((x, y, 0), (x + width, y + height, 3), (LANDMARKS, 3))
        marks[:, 2] = marks[:, 2].astype(int)
        marks[0, 2] = 2
        document['annotations'].append({
            'id': len(document['annotations']) + 1,
            'video_id': video + 1,
            'image_id': image['id'],
            'category_id': 1,
            'bbox': [x, y, width, height],
            'area': width * height,
            'iscrowd': False,
            'visibility': 2,
            'behaviors': [],
            # In some key frames a chimpanzee has a box alone.
            'keypoints': marks.round(2).flatten().tolist() if key and not hidden else [],
            'iskeyframe': int(key),
            'instance_id': int(hidden),
        })  # fmt: skip
