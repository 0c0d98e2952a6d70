"""The data sets that the tables have a column for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saip.errors import InputError


@dataclass(frozen=True)
class Column:
    """A figure that a task reports.

    Attributes:
        title: as the paper calls it.
        metric: its name in a record.
        factor: that makes percent of it.
        higher: whether more is better.
    """

    title: str
    metric: str
    factor: float = 1.0
    higher: bool = True


@dataclass(frozen=True)
class Task:
    """A fine-tuning on a data set, or an evaluation of frozen features.

    Attributes:
        name: by which rows name it.
        title: of the data set.
        config: path below ``configs/downstream``; '' of frozen features.
        columns: its figures.
        data: what has to be there below SAIP_DATA.
        drawn: its name in ``make_people.py --datasets``, which draws a set in its place.
        converted: command that has to follow, with ``{data}`` for SAIP_DATA.
        section: of ``page``, where the data and its layout are described.
        hours: on one recent GPU, an estimate of docs/downstream.md; '' where it has none.
        tested: the weights whose figure counts, the last or the best on a validation part.
        least: the shortest share of its schedule that it can be trained for.
        variables: each has to name a file beside the encoder's weights; with what makes it.
        page: of the documents.
        protocol: of ``tools/eval_frozen.py``, whose feature is the image token.
    """

    name: str
    title: str
    config: str
    columns: tuple[Column, ...]
    data: tuple[str, ...]
    drawn: str
    section: str
    hours: str = ''
    tested: Literal['last', 'best'] = 'last'
    least: float = 0.0
    variables: tuple[tuple[str, str], ...] = ()
    page: str = 'docs/downstream.md'
    protocol: str = ''
    converted: str = ''


def _ade20k(name: str, config: str) -> Task:
    return Task(
        name, 'ADE20K', f'semantic_segmentation/{config}.py', (Column('mIoU', 'mIoU'),),
        ('ADEChallengeData2016',), 'ade20k', 'segmentation-of-scenes', '15 to 25',
    )  # fmt: skip


def _frozen(protocol: str) -> Task:
    return Task(
        protocol, 'ImageNet', '', (Column(protocol, 'top-1'),), ('imagenet',), 'imagenet',
        'by-labels', page='docs/evaluation.md', protocol=protocol,
    )  # fmt: skip


def _pose(*titles: str, prefix: str = 'coco') -> tuple[Column, ...]:
    return tuple(Column(title, f'{prefix}/{title}', factor=100.0) for title in titles)


_REID = 'person-reid'
_ATTRIBUTES = 'person-attributes'
_POSE = 'pose-and-whole-body-landmarks'
_CLIP = (
    (
        'SAIP_TEXT_INIT',
        'python tools/model_converters/clip_text_to_saip.py '
        'ViT-B-16.pt text.pth --activation quick_gelu',
    ),
    ('SAIP_BPE', 'CLIP publishes bpe_simple_vocab_16e6.txt.gz with its code'),
)
_ALL = (
    Task(
        'market1501', 'Market-1501', 'reid/transreid_market1501.py',
        (Column('Rank-1', 'reid/Rank-1'),), ('Market1501',), 'market1501', _REID, '0.5',
    ),
    Task(
        'msmt17', 'MSMT17', 'reid/transreid_msmt17.py',
        (Column('Rank-1', 'reid/Rank-1'),), ('MSMT17',), 'msmt17', _REID, '1.5',
    ),
    Task(
        'cuhk-pedes', 'CUHK-PEDES', 'text_reid/irra_cuhk-pedes.py',
        (Column('Rank-1', 'text_reid/Rank-1'),), ('CUHK-PEDES',), 'cuhk_pedes',
        'text-to-image-reid', '1 to 3', tested='best', variables=_CLIP,
    ),
    Task(
        'icfg-pedes', 'ICFG-PEDES', 'text_reid/irra_icfg-pedes.py',
        (Column('Rank-1', 'text_reid/Rank-1'),), ('ICFG-PEDES',), 'icfg_pedes',
        'text-to-image-reid', '1 to 2', variables=_CLIP,
    ),
    Task(
        'pa100k', 'PA-100K', 'attributes/par_pa100k.py',
        (Column('mA', 'attributes/mA'),), ('PA100K',), 'pa100k', _ATTRIBUTES, '0.5 to 1',
    ),
    Task(
        'petazs', 'PETAzs', 'attributes/par_petazs.py',
        (Column('mA', 'attributes/mA'),), ('PETA/peta_zs.json',), 'peta', _ATTRIBUTES,
        '0.1 to 0.2',
        converted='python tools/dataset_converters/make_petazs.py {data}/PETA/dataset_zs_run0.pkl '
        '{data}/PETA/peta_zs.json',
    ),
    Task(
        'coco', 'COCO', 'pose/vitpose_coco.py', _pose('AP', 'AR'), ('coco',), 'coco', _POSE,
        '4 to 8',
    ),
    Task(
        'wholebody', 'COCO-WholeBody', 'pose/vitpose_wholebody.py',
        _pose('AP', 'AR', prefix='coco-wholebody'),
        ('coco/annotations/coco_wholebody_train_v1.0.json',), 'wholebody', _POSE, '6 to 12',
    ),
    Task(
        'lip', 'LIP', 'part_segmentation/schp_lip.py',
        (Column('mIoU', 'mIoU'), Column('mAcc', 'mAcc')), ('LIP',), 'lip',
        'body-part-segmentation', '10 to 20', least=0.1,
    ),
    Task(
        'crowdhuman', 'CrowdHuman', 'detection/crowddet_crowdhuman.py',
        (
            Column('AP', 'crowd_human/mAP', 100.0),
            Column('MR', 'crowd_human/mMR', 100.0, higher=False),
        ),
        ('CrowdHuman',), 'crowdhuman', 'pedestrian-detection', '10 to 20',
    ),
    Task(
        'cihp', 'CIHP', 'human_parsing/parsing-rcnn_cihp.py',
        (Column('mIoU', 'parsing/mIoU'), Column('APp', 'parsing/APp_vol')), ('CIHP',), 'cihp',
        'multiple-human-parsing', '15 to 25',
    ),
    Task(
        'fashionpedia', 'Fashionpedia', 'part_attributes/ke-rcnn_fashionpedia.py',
        (
            Column('box AP', 'fashionpedia/bbox_AP'),
            Column('mask AP', 'fashionpedia/segm_AP'),
        ),
        ('fashionpedia',), 'fashionpedia', 'garments-and-their-attributes',
        '25 to 40',
    ),
    Task(
        'humanart', 'HumanArt', 'pose/vitpose_humanart.py', _pose('AP'), ('HumanArt',),
        'humanart', _POSE, '2 to 4',
    ),
    Task(
        'chimpact', 'ChimpACT', 'pose/vitpose_chimpact.py', _pose('AP'), ('ChimpACT',),
        'chimpact', _POSE, '1 to 2', tested='best',
    ),
    Task(
        'ap10k', 'AP-10K', 'pose/vitpose_ap10k.py', _pose('AP'), ('ap10k',), 'ap10k', _POSE,
        'less than 1', tested='best',
    ),
    _frozen('linear'),
    _frozen('attentive'),
    Task(
        'imagenet', 'ImageNet', 'classification/finetune_imagenet.py',
        (Column('fine-tuning', 'accuracy/top1'),), ('imagenet',), 'imagenet',
        'by-labels', page='docs/evaluation.md',
    ),
    _ade20k('ade20k', 'upernet_ade20k'),
    _ade20k('ade20k-lr2e-4', 'upernet-lr2e-4_ade20k'),
    _ade20k('ade20k-lr3e-4', 'upernet-lr3e-4_ade20k'),
    Task(
        'coco-objects', 'COCO', 'instance_segmentation/mask-rcnn_coco.py',
        (
            Column('box AP', 'coco/bbox_mAP', factor=100.0),
            Column('mask AP', 'coco/segm_mAP', factor=100.0),
        ),
        ('coco/annotations/instances_train2017.json',), 'coco', 'detection-of-objects',
        '30 to 45',
    ),
)  # fmt: skip

TASKS = {task.name: task for task in _ALL}


def stated_gpus(config: Path) -> int:
    """How many GPUs a configuration is for: the last word of the command that it opens with.

    Raises:
        InputError: there is no such file, or it does not open with its command.
    """
    if not config.is_file():
        raise InputError(f'{config}: no such configuration')
    first = config.read_text(encoding='utf-8').split('\n', 1)[0]
    found = re.fullmatch(r'# .*\.py.* (\d+)', first)
    if found is None:
        raise InputError(f'{config}: its first line does not say the command that trains it')
    return int(found[1])
