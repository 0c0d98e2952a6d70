"""Every data fragment loads through a leaf configuration, on small sets made here."""

from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from tests.test_datasets.image_files import fill

DATA_CONFIGS = Path(__file__).parents[2] / 'configs/pretrain/_base_/data'

FRAGMENTS = {
    'lup1m': ['LUP1M'],
    'lup2m': ['LUP2M'],
    'lup4m': ['LUP4M'],
    'hp1m': ['HP1M'],
    'in1k': ['IN1K'],
    'in1k-224': ['IN1K'],
    'lup1m-in1k': ['LUP1M', 'IN1K'],
    'lup1m-hp1m': ['LUP1M', 'HP1M'],
    'lup1m-hp1m-in1k': ['LUP1M', 'HP1M', 'IN1K'],
}


def test_every_fragment_is_tested():
    files = DATA_CONFIGS.glob('*.py')
    names = {path.stem for path in files if "'./paths.py'" in path.read_text()}
    assert names == {*FRAGMENTS, 'folder', 'people'}


@pytest.mark.filterwarnings('ignore:.*pin_memory')
@pytest.mark.parametrize('name', FRAGMENTS)
def test_fragments_load_from_a_leaf(name, tmp_path, monkeypatch):
    sizes = {'LUP1M': 3, 'LUP2M': 4, 'LUP4M': 5, 'HP1M': 6, 'IN1K': 7}
    for part, size in sizes.items():
        fill(tmp_path / part, size)
    monkeypatch.setenv('SAIP_DATA', str(tmp_path))
    monkeypatch.setenv('SAIP_RETRIEVAL', 'market')  # with labels nothing is held back
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(
        f"_base_ = ['{DATA_CONFIGS / name}.py']\ntrain_dataloader = dict(batch_size=2)\n"
    )
    loader = Config.fromfile(leaf).train_dataloader
    assert loader.sampler == dict(type='DefaultSampler', shuffle=True)
    assert (loader.num_workers, loader.drop_last) == (8, True)
    loader.update(num_workers=0, persistent_workers=False)
    built = Runner.build_dataloader(loader, seed=0)
    assert len(built.dataset) == sum(sizes[part] for part in FRAGMENTS[name])
    canvas = {'in1k': (320, 320), 'in1k-224': (448, 448)}.get(name, (320, 160))
    assert next(iter(built))['canvas'].shape == (2, 3, *canvas)


@pytest.mark.filterwarnings('ignore:.*pin_memory')
def test_without_labels_images_are_held_back(tmp_path, monkeypatch):
    fill(tmp_path / 'LUP1M', 100)
    monkeypatch.setenv('SAIP_DATA', str(tmp_path))
    monkeypatch.delenv('SAIP_RETRIEVAL', raising=False)
    config = Config.fromfile(DATA_CONFIGS / 'lup1m.py')
    assert config.val_evaluator.type == 'saip.TwoViewRecall'
    counts = []
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=1)
        counts.append(len(Runner.build_dataloader(loader, seed=0).dataset))
    assert counts == [98, 2]


def test_a_labeled_set_validates_where_it_is_named(monkeypatch):
    monkeypatch.setenv('SAIP_RETRIEVAL', 'data/market1501')
    config = Config.fromfile(DATA_CONFIGS / 'lup1m-hp1m.py')
    assert config.val_evaluator.type == 'saip.RetrievalMetric'
    assert config.val_dataloader.dataset.data_root == 'data/market1501'


@pytest.mark.parametrize(('name', 'size'), [('in1k-224', (224, 224)), ('lup1m', (256, 128))])
def test_class_folders_validate_by_their_neighbors_at_the_size_of_the_encoder(
    name, size, monkeypatch
):
    monkeypatch.setenv('SAIP_LABELED', 'data/imagenet')
    config = Config.fromfile(DATA_CONFIGS / f'{name}.py')
    assert config.val_evaluator.type == config.test_evaluator.type == 'saip.KNNMetric'
    for loader in (config.val_dataloader, config.test_dataloader):
        assert loader.dataset.type == 'saip.LabeledParts'
        assert loader.dataset.data_root == 'data/imagenet'
        assert tuple(loader.dataset['size']) == size
    monkeypatch.setenv('SAIP_RETRIEVAL', 'data/market1501')
    with pytest.raises(ValueError, match='SAIP_RETRIEVAL and SAIP_LABELED are both set'):
        Config.fromfile(DATA_CONFIGS / f'{name}.py')


@pytest.mark.filterwarnings('ignore:.*pin_memory')
def test_folder_fragment_holds_images_back(tmp_path, monkeypatch):
    fill(tmp_path, 10)
    monkeypatch.setenv('SAIP_FOLDER', str(tmp_path))
    config = Config.fromfile(DATA_CONFIGS / 'folder.py')
    assert config.val_evaluator.type == 'saip.TwoViewRecall'
    assert config.val_cfg == {}
    counts = []
    for part in ('train_dataloader', 'val_dataloader'):
        config[part].update(num_workers=0, persistent_workers=False, batch_size=1)
        loader = Runner.build_dataloader(config[part], seed=0)
        counts.append(Counter(int(batch['key']) for batch in loader))
    assert [len(count) for count in counts] == [8, 2]
    assert not counts[0] & counts[1]
