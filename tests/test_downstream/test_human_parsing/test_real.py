"""Real photographs with real label maps go through converter, data set and metric."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures.mask import BitmapMasks
from PIL import Image

from saip.datasets.converters.cihp import convert_cihp
from saip.downstream.human_parsing import CIHP, LoadParsing, ParsingMetric
from saip.downstream.human_parsing.crops import PartCrop
from tests.tiny import NO_REALDATA, REALDATA

REAL = REALDATA / 'native/ccp_parsing'
NUMBERS = {'hair': 2, 'jacket': 7, 'jeans': 9, 'pants': 9, 'shirt': 5, 'skin': 10, 'shoes': 19}
NUMBERS |= {'blouse': 5, 'dress': 6, 'skirt': 12, 'sweater': 5, 't-shirt': 5, 'top': 5}
"""Labels of the photographs that CIHP has, too."""

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=NO_REALDATA)


def people(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Photographs of one person with CIHP's labels."""
    names = json.loads((REAL / 'label_list.json').read_text())
    table = np.array([NUMBERS.get(name, 0) for name in names], np.uint8)
    found = []
    for path in sorted((REAL / 'masks').glob('*.png'))[:count]:
        photo = Image.open(REAL / f'photos/{path.stem}.jpg').convert('RGB')
        found.append((np.array(photo), table[np.array(Image.open(path))]))
    return found


@pytest.fixture
def scenes(tmp_path):
    """Two photographs beside each other, in the published layout; their label maps."""
    crops = people(4)
    maps = []
    for number in (0, 2):
        (one, left), (other, right) = crops[number : number + 2]
        height = min(len(one), len(other))
        image = np.concatenate([one[:height], other[:height]], 1)
        labels = np.concatenate([left[:height], right[:height]], 1)
        persons = np.zeros_like(labels)
        persons[:, : one.shape[1]][left[:height] > 0] = 3  # any numbers
        persons[:, one.shape[1] :][right[:height] > 0] = 7
        contents = {'Images': image, 'Category_ids': labels, 'Human_ids': persons}
        for split in ('Training', 'Validation'):
            for kind, content in contents.items():
                folder = tmp_path / 'raw' / split / kind
                folder.mkdir(parents=True, exist_ok=True)
                ending = 'jpg' if kind == 'Images' else 'png'
                Image.fromarray(content).save(folder / f'{number:07d}.{ending}')
        maps.append((labels, persons))
    for split, name in (('Training', 'train'), ('Validation', 'val')):
        (tmp_path / f'raw/{split}/{name}_id.txt').write_text('0000000\n0000002\n')
    convert_cihp(tmp_path / 'raw', tmp_path / 'CIHP')
    return tmp_path / 'CIHP', maps


def load(root: Path) -> CIHP:
    meta = ('img_path', 'ori_shape', 'img_id')
    return CIHP(
        data_root=str(root),
        ann_file='annotations/CIHP_val.json',
        data_prefix=dict(img='val_img', parsing='val_parsing', seg='val_seg'),
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            LoadParsing(with_seg=True),
            PackDetInputs(meta_keys=meta),
        ],
    )


def test_people_of_real_photographs_are_read_as_they_were_annotated(scenes):
    root, maps = scenes
    data = load(root)
    assert len(data) == 2
    for sample, (labels, persons) in zip(data, maps, strict=True):
        found = sample['data_samples'].gt_instances
        assert len(found.masks) == 2
        assert np.array_equal(sample['data_samples'].gt_sem_seg.sem_seg.numpy()[0], labels)
        for mask, box, person in zip(
            found.masks.masks, found.bboxes.tensor, (3, 7), strict=True
        ):
            assert np.array_equal(mask, np.where(persons == person, labels, 0))
            rows, columns = np.nonzero(mask)
            extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == pytest.approx(extent, abs=1)


def test_their_own_labels_score_one(scenes):
    metric = ParsingMetric()
    for sample in load(scenes[0]):
        truth = sample['data_samples']
        maps = truth.gt_instances.masks.masks
        parsings = [PartCrop(0, 0, mask) for mask in maps]
        predicted = dict(scores=torch.ones(len(maps)), parsings=parsings)
        metric.process(
            None,
            [
                dict(
                    gt_instances=dict(masks=BitmapMasks(maps, *maps.shape[1:])),
                    gt_sem_seg=dict(sem_seg=truth.gt_sem_seg.sem_seg),
                    pred_instances=predicted,
                )
            ],
        )
    scores = metric.evaluate(2)
    assert scores['parsing/mIoU'] == pytest.approx(100)
    assert scores['parsing/APp_vol'] == pytest.approx(100)
    assert scores['parsing/PCP_50'] == pytest.approx(100)
