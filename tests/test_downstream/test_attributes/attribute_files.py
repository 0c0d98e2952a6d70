"""Attribute data sets of a few tiny images, in exactly the published layouts."""

import json
import pickle
import sys
import types
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

PA100K_NAMES = (
    *('Female', 'AgeOver60', 'Age18-60', 'AgeLess18', 'Front', 'Side', 'Back', 'Hat'),
    *('Glasses', 'HandBag', 'ShoulderBag', 'Backpack', 'HoldObjectsInFront', 'ShortSleeve'),
    *('LongSleeve', 'UpperStride', 'UpperLogo', 'UpperPlaid', 'UpperSplice', 'LowerStripe'),
    *('LowerPattern', 'LongCoat', 'Trousers', 'Shorts', 'Skirt&Dress', 'boots'),
)
PETA_NAMES = tuple(f'peta{i}' for i in range(35))
COUNTS = {'train': 6, 'val': 3, 'test': 5}


def random_labels(images: int, attributes: int, seed: int) -> np.ndarray:
    """The last attribute is shown by nobody."""
    labels = np.random.default_rng(seed).integers(0, 2, (images, attributes), np.uint8)
    labels[:, -1] = 0
    return labels


def draw(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        gray = np.random.default_rng(i).integers(0, 256, (8, 4, 3), np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(gray, (20, 48)))


def cells(texts) -> np.ndarray:
    """A column of MATLAB cells."""
    column = np.empty((len(texts), 1), object)
    column[:, 0] = texts
    return column


def pa100k_variables(counts: dict[str, int] = COUNTS) -> dict:
    """What annotation.mat holds, for fewer images."""
    mat, first = {'attributes': cells(PA100K_NAMES)}, 1
    for seed, (part, count) in enumerate(counts.items()):
        names = [f'{number:06d}.jpg' for number in range(first, first + count)]
        mat[f'{part}_images_name'] = cells(names)
        mat[f'{part}_label'] = random_labels(count, 26, seed)
        first += count
    return mat


def write_pa100k(root: Path, counts: dict[str, int] = COUNTS, **changes) -> dict:
    """Write the folder and return the variables of its annotation.mat; None removes one."""
    mat = pa100k_variables(counts) | changes
    mat = {name: value for name, value in mat.items() if value is not None}
    draw(root / 'data', [f'{number:06d}.jpg' for number in range(1, sum(counts.values()) + 1)])
    savemat(root / 'annotation.mat', mat, do_compression=True)
    return mat


def peta_content(counts: dict[str, int] = COUNTS, seed: int = 3) -> dict:
    """What peta_zs.json holds, for fewer images."""
    parts = [part for part, count in counts.items() for _ in range(count)]
    labels = random_labels(len(parts), 35, seed)
    return {
        'metainfo': {'attributes': list(PETA_NAMES)},
        'data_list': [
            {'img_path': f'{i + 1:05d}.png', 'gt_score': labels[i].tolist(), 'split': part}
            for i, part in enumerate(parts)
        ],
    }


def write_peta(root: Path, counts: dict[str, int] = COUNTS) -> dict:
    content = peta_content(counts)
    draw(root / 'images', [entry['img_path'] for entry in content['data_list']])
    (root / 'peta_zs.json').write_text(json.dumps(content))
    return content


def write_easydict_pickle(path: Path, fields: dict, protocol: int) -> None:
    """Pickle nested dicts as the published file does, without the package easydict."""

    class EasyDict(dict):
        def __init__(self, fields=()):
            super().__init__()
            for name, value in dict(fields).items():
                setattr(self, name, value)

        def __setattr__(self, name, value):
            value = EasyDict(value) if isinstance(value, dict) else value
            super().__setattr__(name, value)
            super().__setitem__(name, value)

    EasyDict.__module__, EasyDict.__qualname__ = 'easydict', 'EasyDict'
    module = types.ModuleType('easydict')
    module.EasyDict = EasyDict
    assert 'easydict' not in sys.modules
    sys.modules['easydict'] = module
    try:
        path.write_bytes(pickle.dumps(EasyDict(fields), protocol))
    finally:
        del sys.modules['easydict']
