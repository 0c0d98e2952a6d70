"""ReID sets of a few tiny images, in exactly the published layouts."""

from pathlib import Path

import cv2
import numpy as np

MARKET = {
    'bounding_box_train': [
        '0002_c1s1_000451_03.jpg',
        '0007_c2s3_000451_01.jpg',
        '0002_c3s1_000551_01.jpg',
        '-1_c1s1_000001_00.jpg',
        'Thumbs.db',
    ],
    'query': ['0001_c1s1_000051_00.jpg', '0003_c2s1_000051_00.jpg'],
    'bounding_box_test': [
        '-1_c1s1_000051_00.jpg',
        '0000_c1s1_000051_01.jpg',
        '0001_c1s1_000076_00.jpg',
        '0001_c2s3_000051_00.jpg',
        '0003_c1s1_000051_00.jpg',
    ],
}
MSMT = {
    'list_train.txt': [
        '0000/0000_000_01_0303morning_0008_0.jpg 0',
        '0003/0003_002_15_0113noon_0020_1.jpg 3',
    ],
    'list_val.txt': ['0000/0000_001_05_0303morning_0015_0.jpg 0'],
    'list_query.txt': [
        '0000/0000_000_02_0302afternoon_0001_0.jpg 0',
        '0001/0001_000_11_0302afternoon_0001_0.jpg 1',
    ],
    'list_gallery.txt': [
        '0000/0000_001_02_0302afternoon_0009_0.jpg 0',
        '0000/0000_002_03_0302afternoon_0009_0.jpg 0',
        '0001/0001_001_12_0302afternoon_0009_0.jpg 1',
    ],
}


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.jpg':
        noise = np.random.default_rng(list(path.name.encode())).integers(
            0, 256, (10, 5, 3), np.uint8
        )
        cv2.imwrite(str(path), cv2.resize(noise, (20, 40)))
    else:
        path.write_bytes(b'no image')


def write_market(root: Path) -> Path:
    for folder, names in MARKET.items():
        for name in names:
            draw(root / folder / name)
    return root


def write_msmt17(root: Path, folders: tuple[str, str] = ('train', 'test')) -> Path:
    for name, lines in MSMT.items():
        folder = folders[name in ('list_query.txt', 'list_gallery.txt')]
        for line in lines:
            draw(root / folder / line.split()[0])
        (root / name).write_text('\n'.join(lines) + '\n')
    return root
