"""What the launcher refuses before a training, from its configuration alone."""

import inspect

import pytest
import torch
from mmengine.config import Config

from saip.datasets.person_images import PersonImages
from saip.datasets.retrieval import RetrievalImages
from saip.engine import launch
from saip.engine.held_back import check_held_back
from saip.engine.resume import explain_weights
from saip.engine.start_checks import LOADERS, check_keypoints, check_plateau
from saip.errors import StartError, StoppedError
from tests.tiny import ROOT

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
PRETRAIN = sorted((ROOT / 'configs/pretrain').glob('[!_]*/*.py'))
LEAVES = [path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts]
QUICKSTART = ROOT / 'configs/pretrain/quickstart'
FOLDER = str(QUICKSTART / 'saip-small_any-backbone_1xb32-amp-coslr_folder.py')
PA100K = str(ROOT / 'configs/downstream/attributes/par_pa100k.py')


@pytest.mark.parametrize('left', ['epoch_2.pth', 'iter_5.pth', 'best_score_epoch_1.pth'])
def test_a_used_folder_is_refused_with_the_two_ways_on(toy_config, tmp_path, left):
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work' / left).write_text('')
    with pytest.raises(StartError, match=rf'{left}.* --resume, .* --work-dir'):
        launch.train(toy_config())
    assert (tmp_path / 'work' / left).read_text() == ''


def test_both_ways_on_work(toy_config, tmp_path):
    launch.train(toy_config(), options={'train_cfg.max_epochs': 1})
    launch.train(toy_config(), resume='auto', options={'train_cfg.max_epochs': 2})
    launch.train(toy_config(), work_dir=str(tmp_path / 'other'))
    assert (tmp_path / 'work/epoch_2.pth').exists()
    assert (tmp_path / 'other/epoch_3.pth').exists()


def test_a_run_of_another_folder_is_not_continued_in_a_used_one(toy_config, tmp_path):
    launch.train(toy_config(), work_dir=str(tmp_path / 'first'))
    launch.train(toy_config(), work_dir=str(tmp_path / 'second'))
    checkpoint = str(tmp_path / 'first/epoch_2.pth')
    with pytest.raises(StartError, match='second holds the checkpoints of a run'):
        launch.train(toy_config(), work_dir=str(tmp_path / 'second'), resume=checkpoint)
    launch.train(toy_config(), work_dir=str(tmp_path / 'third'), resume=checkpoint)
    launch.train(toy_config(), work_dir=str(tmp_path / 'first'), resume=checkpoint)


def test_masks_of_parts_need_keypoints_or_what_stands_in_for_them(monkeypatch):
    path = str(ROOT / 'configs/pretrain/hap/hap_any-backbone_1xb256-amp-coslr_folder.py')
    views = 'model.data_preprocessor.views'
    named = ' '.join(f'{views}.masked_{x}.mask.on_missing=template' for x in 'ab')
    with pytest.raises(
        StartError, match=rf'in masked_a, masked_b, .* SAIP_KEYPOINTS .*{named} '
    ):
        check_keypoints(launch.read_config(path, {}))
    options = {f'{views}.{name}.mask.on_missing': 'block' for name in ('masked_a', 'masked_b')}
    check_keypoints(launch.read_config(path, options))
    options.popitem()
    with pytest.raises(StartError, match='masked_b'):
        check_keypoints(launch.read_config(path, options))
    for value in ('none', 'keypoints.npz'):
        monkeypatch.setenv('SAIP_KEYPOINTS', value)
        check_keypoints(launch.read_config(path, {}))


@pytest.mark.sampled(3)
@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_loaders_without_workers_need_one_option(path):
    for library in ('mmdet', 'mmpose', 'mmseg'):
        if f'{library}' in path.read_text() or 'downstream/pose' in str(path):
            pytest.importorskip(f'{library}.models')
    present = [name for name in LOADERS if launch.read_config(str(path), {}).get(name)]
    cfg = launch.read_config(str(path), {f'{loader}.num_workers': 0 for loader in present})
    for name in present:
        options = {
            key: cfg[name][key]
            for key in ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory')
            if key in cfg[name]
        }
        assert list(torch.utils.data.DataLoader([1], **options)) == [1]


@pytest.mark.sampled(3)
@pytest.mark.parametrize('labeled', [True, False])
@pytest.mark.parametrize('path', PRETRAIN, ids=lambda path: path.stem)
def test_every_pretraining_validates_with_and_without_labels(path, labeled, monkeypatch):
    monkeypatch.delenv('SAIP_RETRIEVAL', raising=False)
    if labeled:
        monkeypatch.setenv('SAIP_RETRIEVAL', 'market')
    cfg = launch.read_config(str(path))
    kinds = {'saip.PersonImages': PersonImages, 'saip.RetrievalImages': RetrievalImages}
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        known = inspect.signature(kinds[loader.dataset.type]).parameters
        assert set(loader.dataset) - {'type'} <= set(known)
        metric = cfg.val_evaluator.type
        assert (metric == 'saip.RetrievalMetric') is loader.dataset.type.endswith(
            'RetrievalImages'
        )
    if labeled and 'folder' in path.stem:
        assert cfg.val_dataloader.dataset.data_root == 'market'
        size = cfg.model.data_preprocessor.size
        assert tuple(cfg.val_dataloader.dataset['size']) == tuple(size)
    held_back(cfg)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'train_dataloader.dataset.holdout': 0}, r'train_\w+\.dataset\.holdout=0, but val_'),
        ({'train_dataloader.dataset.holdout': 0.2}, r'holdout=0.2, but val_dataloader'),
        ({'val_dataloader.dataset.holdout': 0.2}, r'holdout=0.1, but val_\S+holdout=0.2'),
        ({'train_dataloader.dataset.ann_file': 'a.txt'}, r"ann_file='a.txt', but val_\S+=None"),
        ({'train_dataloader.dataset.data_prefix': 'x'}, r"data_prefix='x', but val_"),
        ({'train_dataloader.dataset.data_root': 'data/crops/x'}, r"data_root='data/crops/x'"),
    ],
)
def test_images_held_back_are_not_trained_on(options, message):
    with pytest.raises(StartError, match=message):
        launch.train(FOLDER, options=options)


def held_back(cfg) -> None:
    for loader in LOADERS[1:]:
        check_held_back(cfg, loader, '')


def images(root, **options):
    return dict(dataset=dict(type='saip.PersonImages', data_root=root, **options))


@pytest.mark.parametrize(
    ('train', 'held'),
    [
        (dict(holdout=0.2), dict(holdout=0.2)),
        (dict(holdout=0.10), dict(holdout=0.1)),
        (dict(root='elsewhere'), dict(holdout=0.1)),
        (dict(ann_file='a.tsv'), dict(ann_file='b.tsv', holdout=0.1)),
        (dict(ann_file='x.tsv', holdout=0.1), dict(ann_file='./x.tsv', holdout=0.1)),
        (dict(data_prefix='a', holdout=0.1), dict(root='data/a', holdout=0.1)),
        (dict(data_prefix='a'), dict(data_prefix='b', holdout=0.1)),
    ],
)
def test_sets_that_agree_or_lie_elsewhere_are_right(train, held):
    cfg = Config(
        dict(
            train_dataloader=images(train.pop('root', 'data'), **train),
            val_dataloader=images(held.pop('root', 'data'), part='held_back', **held),
        )
    )
    held_back(cfg)


@pytest.mark.parametrize(
    ('train', 'held', 'named'),
    [
        (dict(data_prefix='a', holdout=0.1), dict(holdout=0.1), 'data_prefix'),
        (dict(ann_file='x.tsv'), dict(ann_file='x.tsv', holdout=0.1), 'holdout'),
        ({}, dict(ann_file='x.tsv', holdout=0.1), 'ann_file'),
    ],
)
def test_sets_that_overlap_in_another_choice_are_refused(train, held, named):
    cfg = Config(
        dict(
            train_dataloader=images('data', **train),
            val_dataloader=images('data', part='held_back', **held),
        )
    )
    with pytest.raises(StartError, match=rf'train_dataloader\.dataset\.{named}='):
        held_back(cfg)


def test_all_images_can_be_trained_on_knowingly():
    cfg = launch.read_config(FOLDER, {'train_dataloader.dataset.holdout': 0})
    cfg.val_dataloader = None  # --no-validate
    check_held_back(cfg, 'val_dataloader', '')


def test_sets_in_a_concatenation_are_compared(monkeypatch):
    monkeypatch.delenv('SAIP_RETRIEVAL', raising=False)
    (path,) = [path for path in PRETRAIN if path.stem.endswith('lup1m-hp1m')]
    cfg = launch.read_config(str(path), {'train_dataloader.dataset.datasets.0.holdout': 0})
    with pytest.raises(StartError, match=r'datasets\.0\.holdout=0, but val_dataloader'):
        held_back(cfg)
    held_back(launch.read_config(str(path), {'train_dataloader.dataset.datasets.1.holdout': 0}))


def test_a_schedule_that_reads_a_metric_needs_a_validation():
    with pytest.raises(StartError, match=r'attributes/loss of the validation.*--no-validate'):
        launch.train(PA100K, validate=False)
    check_plateau(launch.read_config(PA100K))
    listed = Config(dict(param_scheduler=[dict(type='X'), dict(type='ReduceOnPlateauLR')]))
    with pytest.raises(StartError, match=r'param_scheduler\.1 '):
        check_plateau(listed)


@pytest.mark.parametrize(('interval', 'warned'), [(1, False), (2, True), (4, True)])
def test_a_schedule_that_sees_few_validations_is_warned_of(interval, warned, capsys):
    """The best of 8 epochs and five that are no better are six validations."""
    options = {'train_cfg.max_epochs': 8, 'train_cfg.val_interval': interval}
    check_plateau(launch.read_config(PA100K, options))
    said = capsys.readouterr().err
    assert (f'val_interval={interval} makes {8 // interval} in 8 epochs' in said) is warned


def test_a_metric_that_the_validation_does_not_give_is_named(toy_config):
    schedule = dict(type='ReduceOnPlateauLR', monitor='scor', rule='greater')
    with pytest.raises(StoppedError, match=r"monitor='scor' is no metric .* gives 'score'"):
        launch.train(toy_config(param_scheduler=[schedule]))


def test_an_encoder_alone_is_no_checkpoint_to_load():
    cfg = Config.fromfile(FOLDER)
    own = {key: torch.Size((1,)) for key in ('backbone.weight', 'expert.weight')}
    alone = {'backbone.weight': torch.Size((1,))}
    said = explain_weights(own, alone, cfg, testing=False)
    assert 'model.backbone.init_cfg' in said
    assert 'model.init_from' in said
    assert 'SAIP_BACKBONE' not in said
    assert 'eval_frozen' in explain_weights(own, alone, cfg, testing=True)
    task = explain_weights(own, alone, Config.fromfile(PA100K), testing=False)
    assert 'set SAIP_INIT' in task
    assert 'init_cfg' not in task
    without = {'backbone.weight': torch.Size((1,)), 'head.weight': torch.Size()}
    assert explain_weights(own, without, cfg, testing=False) == ''
    other = own | {'backbone.weight': torch.Size((2,))}
    assert 'SAIP_BACKBONE' in explain_weights(own, other, cfg, testing=False)


def test_a_test_on_images_that_were_trained_on_is_refused():
    options = {'test_dataloader.dataset.holdout': 0.2}
    with pytest.raises(StartError, match=r'holdout=0\.1, but test_dataloader') as error:
        launch.evaluate(FOLDER, 'epoch_1.pth', options=options)
    assert '--no-validate' not in str(error.value)
    other = {'val_dataloader.dataset.holdout': 0.2}  # which a test does not read
    with pytest.raises(FileNotFoundError):
        launch.evaluate(FOLDER, 'epoch_1.pth', options=other)
