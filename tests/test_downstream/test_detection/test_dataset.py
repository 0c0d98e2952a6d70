import json
import math
from pathlib import Path

import pytest
import torch
from mmdet.models.task_modules.assigners import MultiInstanceAssigner
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from PIL import Image

from saip.datasets import consistency
from saip.datasets.crops import DataError
from saip.downstream.detection import CrowdHuman
from saip.downstream.detection import dataset as module
from saip.registry import DATASETS
from tests.test_datasets.image_files import text_orientation

from .crowd_files import box, two_images, write_image, write_set
from .small import CONFIG


@pytest.fixture
def crowd(tmp_path):
    return write_set(tmp_path / 'CrowdHuman', two_images())


def dataset(root: Path, split: str = 'train', **options) -> CrowdHuman:
    return CrowdHuman(
        data_root=str(root),
        ann_file=f'annotation_{split}.odgt',
        data_prefix=dict(img='Images/'),
        test_mode=split == 'val',
        **options,
    )


def shipped(root: Path, split: str = 'train', **options) -> CrowdHuman:
    """With the pipeline of the configuration."""
    settings = dict(Config.fromfile(CONFIG)[f'{split}_dataloader'].dataset)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build({**settings, 'data_root': str(root), **options})


def test_boxes_are_corners_and_what_is_to_be_ignored_is_marked(crowd):
    first, second = dataset(crowd, 'val')
    assert first['img_path'] == str(crowd / 'Images/a,1.jpg')
    assert (first['height'], first['width']) == (100, 80)
    assert [row['bbox'] for row in first['instances']] == [
        [10, 20, 30, 60],
        [50, -5, 90, 85],
        [0, 0, 80, 10],
    ]
    assert [row['ignore_flag'] for row in first['instances']] == [0, 1, 1]
    assert [row['bbox_label'] for row in first['instances']] == [0, -1, -1]
    assert [row['bbox'] for row in second['instances']] == [[30, 30, 50, 80]]


def test_nothing_is_written_to_the_data_folder(crowd):
    before = sorted(crowd.rglob('*'))
    dataset(crowd)
    dataset(crowd, 'val')
    assert sorted(crowd.rglob('*')) == before


def test_annotations_may_have_any_name(crowd):
    (crowd / 'annotation_train.odgt').rename(crowd / 'mine.odgt')
    assert len(CrowdHuman(str(crowd), 'mine.odgt', data_prefix=dict(img='Images/'))) == 2


@pytest.mark.parametrize(('orientation', 'size'), [(1, (40, 60)), (3, (40, 60)), (6, (60, 40))])
def test_sizes_are_those_of_the_images_as_they_are_loaded(crowd, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    write_image(crowd / 'Images/b,2.jpg', 40, 60, exif=exif)
    data = shipped(crowd)
    info = data.get_data_info(1)
    assert (info['height'], info['width']) == size
    assert data[1]['data_samples'].ori_shape == size


def test_an_orientation_that_is_no_number_is_none(crowd):
    write_image(crowd / 'Images/b,2.jpg', 40, 60, exif=text_orientation())
    info = dataset(crowd).get_data_info(1)
    assert (info['height'], info['width']) == (40, 60)


def test_a_image_with_one_box_gets_one_to_ignore_in_training_alone(crowd):
    sample = shipped(crowd)[1]['data_samples']
    assert len(sample.gt_instances.bboxes) == 1
    assert len(sample.ignored_instances.bboxes) == 1
    sample = shipped(crowd, 'val')[1]['data_samples']
    assert len(sample.ignored_instances.bboxes) == 0


@pytest.mark.parametrize('count', [4, 5])
def test_a_single_person_is_assigned_to_the_proposals_that_overlap_it(crowd, count):
    """mmdet's assigner alone raises for one of these counts and mixes up the other's rows."""
    sample = shipped(crowd)[1]['data_samples']
    person = sample.gt_instances.bboxes.tensor
    shifts = torch.tensor([0.0, 5, 12, 19, 40])[:count]
    proposals = person + shifts[:, None] * torch.tensor([1.0, 0, 1, 0])
    # Shifted by s of 20 pixels: IoU (20 - s) / (20 + s).
    expected = [float((20 - s) / (20 + s) >= 0.5) for s in shifts]
    settings = dict(Config.fromfile(CONFIG).model.train_cfg.rcnn.assigner)
    assert settings.pop('type') == 'MultiInstanceAssigner'
    result = MultiInstanceAssigner(**settings).assign(
        InstanceData(priors=proposals),
        InstanceData(bboxes=person, labels=sample.gt_instances.labels),
        InstanceData(
            bboxes=sample.ignored_instances.bboxes.tensor,
            labels=sample.ignored_instances.labels,
        ),
    )
    # After the proposals come the person itself and the box to ignore, which nothing is drawn to.
    assert result.labels[:, 0].tolist() == [*expected, 1, -1]
    assert result.labels[:-1, 1].tolist() == [0] * (count + 1)


def write_line(crowd: Path, line: str, split: str = 'train') -> Path:
    path = crowd / f'annotation_{split}.odgt'
    path.write_text(path.read_text() + line + '\n')
    return path


@pytest.mark.parametrize(
    ('gone', 'error'),
    [
        ('annotation_train.odgt', 'annotation_train.odgt: no such file'),
        ('Images', 'Images: no such folder'),
        ('Images/b,2.jpg', 'b,2.jpg: no such file, and 1 of the 2 files'),
    ],
)
def test_what_is_missing_is_named_with_the_layout(crowd, gone, error):
    (crowd / gone).rename(crowd / 'elsewhere')
    with pytest.raises(
        FileNotFoundError, match=rf'{error}.*annotation_val\.odgt and Images/ID\.jpg'
    ) as caught:
        dataset(crowd)
    assert str(caught.value).startswith(str(crowd / gone))


def wrong(**changes) -> str:
    """A line whose first box is changed; None removes a key."""
    changed = {**box([1, 2, 3, 4]), **changes}
    boxes = [{k: v for k, v in changed.items() if v is not None}]
    return json.dumps(dict(ID='b,2', gtboxes=boxes))


NULL = (
    '{{"ID": "b,2", "gtboxes": [{{"tag": "mask", "fbox": [1, 2, 3, 4], "vbox": [1, 2, 3, 4], '
    '"hbox": [1, 2, 3, 4], "{}": null}}]}}'
)


@pytest.mark.parametrize(
    ('line', 'error'),
    [
        ('{"ID": "b,2", "gtboxes": [', 'not JSON'),
        ('', 'not JSON'),
        ('{"ID": "b,2"}', 'no "ID" or no list "gtboxes"'),
        (wrong(), 'ID b,2 is that of line 2, too'),
        (wrong(tag='dog'), "box 1 has the tag 'dog', neither of person, mask"),
        (wrong(tag=None), 'box 1 has the tag None'),
        ('{"ID": "b,2", "gtboxes": [3]}', 'box 1 is 3, not an object'),
        (wrong(fbox=None), 'box 1: fbox is not four numbers but None'),
        (wrong(fbox=[1, 2, 3]), r'box 1: fbox is not four numbers but \[1, 2, 3\]'),
        (wrong(fbox=[1, 2, 3, True]), r'box 1: fbox is not four numbers but \[1, 2, 3, True\]'),
        (wrong(fbox=[1, 2, 3, math.inf]), 'box 1: fbox is not finite'),
        (wrong(fbox=[math.nan, 2, 3, 4]), 'box 1: fbox is not finite'),
        (wrong(vbox=[1, 2, 3, '4']), 'box 1: vbox is not four numbers'),
        (wrong(hbox=None), 'box 1: hbox is not four numbers but None'),
        (wrong(extra=dict(ignore='0')), "box 1 has extra.ignore '0', neither 0 nor 1"),
        (NULL.format('extra'), 'box 1 has extra None, not an object'),
        (NULL.format('head_attr'), 'box 1 has head_attr None, not an object'),
    ],
)
def test_a_line_that_is_no_record_is_named(crowd, line, error):
    path = write_line(crowd, f'{line}\n{wrong()}')
    with pytest.raises(DataError, match=f'{path}, line 3: {error}.*"gtboxes"'):
        dataset(crowd)


def test_an_empty_file_is_named(crowd):
    path = crowd / 'annotation_train.odgt'
    path.write_text('')
    with pytest.raises(DataError, match=f'{path}, line 1: not JSON'):
        dataset(crowd)


NO_PERSON = [box([5, 5, 20, 20], tag='mask'), box([5, 5, 20, 20], ignore=1)]


EMPTY = [box([1, 2, 0, 4]), box([1, 2, 3, -4])]
FLAWS = {'c,3': NO_PERSON, 'd,4': [*EMPTY, box([1, 2, 3, 4])], 'e,5': EMPTY}


@pytest.fixture
def flawed(tmp_path):
    """Images of which the first shows no person, nor does the last, of people without an area."""
    first, *others = FLAWS.items()
    return write_set(tmp_path / 'flawed', dict([first, *two_images().items(), *others]))


@pytest.fixture
def warned(monkeypatch):
    messages = []
    monkeypatch.setattr(module, 'print_log', lambda text, **_: messages.append(text))
    return messages


def test_boxes_without_an_area_are_left_out_of_a_training_and_counted(tmp_path, warned):
    root = write_set(tmp_path, {**two_images(), 'd,4': FLAWS['d,4']})
    data = dataset(root)
    assert [info['img_id'] for info in data] == ['a,1', 'b,2', 'd,4']
    assert data[2]['instances'][0]['bbox'] == [1, 2, 4, 6]
    assert [row['ignore_flag'] for row in data[2]['instances']] == [0, 1]  # one was added
    path = root / 'annotation_train.odgt'
    assert warned == [
        f'{path}: boxes (fbox) without an area, left out: 2, the first in line 3: d,4.jpg'
    ]


@pytest.mark.parametrize('boxes', [NO_PERSON, EMPTY, []])
def test_a_training_image_without_a_person_stops(tmp_path, boxes):
    root = write_set(tmp_path, {**two_images(), 'c,3': boxes})
    with pytest.raises(
        DataError,
        match=r'annotation_train\.odgt, line 3: c,3\.jpg shows no person \(images of this kind '
        r'in the file: 1\)\. .*skip_unusable=True.*"gtboxes"',
    ):
        dataset(root)


def test_training_images_without_a_person_can_be_skipped(flawed, warned):
    data = dataset(flawed, skip_unusable=True)
    assert [info['img_id'] for info in data] == ['a,1', 'b,2', 'd,4']
    path = flawed / 'annotation_train.odgt'
    assert warned == [
        f'{path}: boxes (fbox) without an area, left out: 4, the first in line 4: d,4.jpg',
        f'{path}: images without a person, left out: 2, the first in line 1: c,3.jpg',
    ]


def test_a_test_stays_as_its_file_has_it(flawed, warned):
    data = dataset(flawed, 'val')
    assert [info['img_id'] for info in data] == ['c,3', 'a,1', 'b,2', 'd,4', 'e,5']
    assert [len(info['instances']) for info in data] == [2, 3, 1, 3, 2]
    assert warned == []


def test_a_test_image_without_boxes_stops(tmp_path):
    root = write_set(tmp_path, {**two_images(), 'c,3': []})
    with pytest.raises(DataError, match=r'annotation_val\.odgt, line 3: c,3\.jpg has no box'):
        dataset(root, 'val')


@pytest.mark.parametrize(
    ('split', 'options'), [('train', {'skip_unusable': True}), ('val', {})]
)
def test_a_set_without_people_is_refused_anyway(tmp_path, split, options):
    root = write_set(tmp_path, {'c,3': NO_PERSON})
    with pytest.raises(DataError, match=rf'annotation_{split}\.odgt: no image with a person'):
        dataset(root, split, **options)


def corners(fbox, vbox):
    """A person whose boxes are x0, y0, x1, y1 where these names are set."""
    x, y, width, height = 30, 40, 30, 40
    right, wrong = [x, y, width, height], [x, y, x + width, y + height]
    return {**box(right), 'fbox': wrong if fbox else right, 'vbox': wrong if vbox else right}


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('name', ['fbox', 'vbox'])
def test_corners_are_refused(tmp_path, split, name):
    people = [corners(name == 'fbox', name == 'vbox')] * 3
    root = write_set(tmp_path, {'c,3': people, **two_images()})
    with pytest.raises(
        DataError,
        match=rf'annotation_{split}\.odgt: 3 of 5 boxes \({name}: x, y, width, height\) reach '
        r'beyond their image, the first that of c,3\.jpg: 30, 40, 60, 80 in 80x100 pixels\. As '
        r'corners x0, y0, x1, y1 3 of them would lie inside',
    ):
        dataset(root, split)


def test_full_boxes_may_reach_beyond_the_image_and_visible_ones_are_counted(
    tmp_path, monkeypatch
):
    messages = []
    monkeypatch.setattr(consistency, 'print_log', lambda text, **_: messages.append(text))
    full = {**box([60, 50, 15, 40]), 'fbox': [60, 50, 30, 200]}
    dataset(write_set(tmp_path / 'full', {'a,1': [full, full, full]}), 'val')
    assert messages == []
    visible = {**box([60, 50, 15, 40]), 'vbox': [60, 50, 30, 40]}
    root = write_set(tmp_path / 'visible', {'a,1': [visible, full, full]})
    dataset(root, 'val')
    assert messages == [
        f'{root}/annotation_val.odgt: 1 of 3 boxes (vbox: x, y, width, height) reach beyond '
        'their image, the first that of a,1.jpg: 60, 50, 30, 40 in 80x100 pixels'
    ]


def test_a_damaged_image_is_named(crowd):
    path = crowd / 'Images/b,2.jpg'
    path.write_bytes(b'no image')
    with pytest.raises(DataError, match=rf'1 of the 1 images .*{path} \(not an image'):
        dataset(crowd)
