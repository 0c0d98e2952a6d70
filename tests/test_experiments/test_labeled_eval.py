"""Evaluation by labels: what the sets are, and every protocol on small images of two colors."""

import json
import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import saip.datasets.labeled
import saip.experiments.labeled_eval
from saip.checkpoint import export_backbone
from saip.datasets.crops import DataError
from saip.datasets.labeled import (
    LabeledImages,
    LabeledParts,
    LabeledSet,
    has_classes,
    read_classes,
)
from saip.errors import InputError
from saip.experiments.labeled_eval import (
    PROTOCOLS,
    LabeledSettings,
    evaluate_labeled,
    open_labeled,
)
from saip.experiments.table import format_labeled
from saip.models.backbones import ViTEncoder
from saip.registry import MODELS
from tests.tiny import ARCH, ROOT

SIZE = (32, 32)
COLORS = {'blue': (20, 30, 200), 'green': (30, 190, 40), 'red': (220, 20, 30)}


def paint(path, color, seed):
    """An image of nearly one color."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(np.array(color) + rng.integers(-20, 20, (40, 36, 3)), 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope='module')
def colors(tmp_path_factory):
    root = tmp_path_factory.mktemp('colors')
    for number, (name, color) in enumerate(COLORS.items()):
        for i in range(10):
            paint(root / name / f'{i}.png', color, 10 * number + i)
    return root


def encoder():
    torch.manual_seed(0)
    made = ViTEncoder(arch=ARCH, img_size=SIZE, feature_level=2)
    made.init_weights()
    return made


def preprocessor():
    return MODELS.build(dict(type='saip.ViewsPreprocessor', size=SIZE, patch_size=16, views={}))


SETTINGS = LabeledSettings(
    size=SIZE, batch_size=8, num_workers=0, device='cpu', epochs=6, seeds=2, progress=False
)


def test_a_fifth_of_each_class_is_tested(colors):
    labeled = read_classes(colors)
    assert labeled.names == ('blue', 'green', 'red')
    assert has_classes(colors)
    assert not has_classes(colors / 'red')
    for part, count in (('train', 8), ('test', 2)):
        assert np.bincount(labeled.targets[part]).tolist() == [count] * 3
        for path, target in zip(labeled.paths[part], labeled.targets[part], strict=True):
            assert f'/{labeled.names[target]}/' in path
    assert not set(labeled.paths['train']) & set(labeled.paths['test'])


def test_a_class_with_one_image_is_refused(tmp_path):
    paint(tmp_path / 'cat/0.png', (0, 0, 0), 0)
    with pytest.raises(FileNotFoundError, match='1 folder with images; labels are needed'):
        read_classes(tmp_path)
    for i in range(2):
        paint(tmp_path / f'dog/{i}.png', (0, 0, 0), i)
    with pytest.raises(DataError, match=r'class cat has a single image \(.*cat/0\.png\)'):
        read_classes(tmp_path)
    with pytest.raises(FileNotFoundError, match='no such folder'):
        read_classes(tmp_path / 'none')


def test_imagenets_layout(tmp_path):
    for part, count in (('train', 3), ('val', 1)):
        for name in ('n01', 'n02'):
            for i in range(count):
                paint(tmp_path / part / name / f'{part}_{i}.png', (9, 9, 9), i)
    labeled = open_labeled(tmp_path)
    assert (len(labeled.paths['train']), len(labeled.paths['test'])) == (6, 2)
    assert all('/val/' in path for path in labeled.paths['test'])
    paint(tmp_path / 'train/n03/0.png', (9, 9, 9), 0)
    with pytest.raises(DataError, match=r'different classes, such as n03'):
        open_labeled(tmp_path)


def test_a_part_alone_is_named(tmp_path):
    for name in ('n01', 'n02'):
        paint(tmp_path / 'train' / name / '0.png', (9, 9, 9), 0)
    with pytest.raises(FileNotFoundError, match=r'train/ alone is evaluated as .*/train$'):
        open_labeled(tmp_path)


def test_folders_without_images_are_named(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(saip.datasets.labeled, 'print_log', lambda text, *_: said.append(text))
    for name in ('n01', 'n02'):
        for i in range(2):
            paint(tmp_path / name / f'{i}.png', (9, 9, 9), i)
    (tmp_path / '.git').mkdir()
    read_classes(tmp_path)
    assert said == []
    (tmp_path / 'n03').mkdir()
    assert read_classes(tmp_path).names == ('n01', 'n02')
    assert said == [f'{tmp_path}: no class without an image: n03']


def test_identities_of_market1501(tmp_path):
    for pid in (2, 7):
        for camera in (1, 2, 3):
            name = f'{pid:04d}_c{camera}s1_000451_03.png'
            paint(tmp_path / 'bounding_box_train' / name, (9, 9, 9), camera)
    labeled = open_labeled(tmp_path)
    assert labeled.names == ('0002', '0007')
    assert labeled.targets['train'].tolist() == [0, 0, 1, 1]
    assert labeled.targets['test'].tolist() == [0, 1]


def test_random_parts_depend_on_image_and_epoch_alone(colors):
    labeled = read_classes(colors)
    images = LabeledImages(labeled, 'train', SIZE, augment=True)
    first = images[3]['image']
    assert torch.equal(first, images[3]['image'])
    images.set_epoch(1)
    assert not torch.equal(first, images[3]['image'])
    assert images[3]['image'].shape == (3, *SIZE)


def test_whole_images_of_squares_lose_their_border_and_persons_nothing(tmp_path):
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, :16] = 255  # a white strip at the left
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    for name in ('x', 'y'):
        for i in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / name / f'{i}.png')
    labeled = read_classes(tmp_path)
    square = LabeledImages(labeled, 'train', (32, 32))[0]['image']
    person = LabeledImages(labeled, 'train', (64, 32))[0]['image']
    assert square.max() < 30
    assert person[:, :, 0].min() > 225


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_every_protocol_tells_colors_apart(protocol, colors):
    settings = SETTINGS
    if protocol == 'attentive':
        settings = replace(SETTINGS, rates=(3.0,))
    elif protocol in ('linear', 'linear-cached'):
        settings = replace(SETTINGS, rates=(30.0, 100.0), epochs=40)
    elif protocol == 'linear-dino':
        settings = replace(SETTINGS, rates=(1.0, 3.0))
    model = encoder()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    result = evaluate_labeled(
        {'student': model}, read_classes(colors), preprocessor(), protocol, settings
    )
    row = result['rows']['student']
    assert max(row.values()) == 100
    assert (result['images'], result['tested'], result['classes']) == (24, 6, 3)
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())
    assert not model.training
    assert result['metric'] == 'top-1'
    if protocol == 'lowshot':
        assert {'1 %', '1 % sd', '10 %', '100 %'} <= set(row)
        assert '100 % sd' not in row


@pytest.mark.parametrize('protocol', ['knn', 'lowshot', 'linear-dino'])
def test_attributes_of_colors_are_recognized(protocol, colors):
    """Blue, green, red, and blue or green."""
    classes = read_classes(colors)
    table = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0]], np.float32)
    targets = {part: table[labels] for part, labels in classes.targets.items()}
    labeled = LabeledSet(classes.paths, targets, ('blue', 'green', 'red', 'cold'))
    settings = replace(SETTINGS, rates=(300.0,), epochs=20)
    result = evaluate_labeled(
        {'student': encoder()}, labeled, preprocessor(), protocol, settings
    )
    measure = 'mA in percent' if protocol == 'lowshot' else 'percent'
    assert format_labeled(result).startswith(f'{protocol}, {measure}: 4 attributes, ')
    row = result['rows']['student']
    assert (
        row[{'knn': 'k=10 mA', 'lowshot': '100 %', 'linear-dino': 'mA at 300'}[protocol]] == 100
    )


def test_a_probe_that_diverges_has_no_score(colors, monkeypatch):
    said = []
    monkeypatch.setattr(
        saip.experiments.labeled_eval, 'print_log', lambda text, *_: said.append(text)
    )
    labeled = read_classes(colors)
    settings = replace(SETTINGS, rates=(1.0, 1e32), epochs=3)
    model = encoder()
    model.ln1.weight.data.mul_(1e6)  # scores are the rate times the square of this
    found = evaluate_labeled(
        {'student': model}, labeled, preprocessor(), 'linear-dino', settings
    )
    assert list(found['rows']['student']) == ['top-1 at 1']
    assert said == ['the probe has diverged with --rates 1e+32, which gets no figure']


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_features_that_are_not_finite_are_refused(protocol, colors):
    broken = encoder()
    broken.patch_embed.projection.weight.data.fill_(float('nan'))
    with pytest.raises(InputError, match='not finite: the weights have diverged'):
        evaluate_labeled(
            {'student': broken}, read_classes(colors), preprocessor(), protocol, SETTINGS
        )


def test_a_norm_needs_two_images(colors):
    settings = replace(SETTINGS, batch_size=1, epochs=1)
    for protocol in ('linear', 'linear-cached', 'attentive'):
        with pytest.raises(InputError, match=r'--batch-size 1: .* at least 2'):
            evaluate_labeled(
                {'student': encoder()}, read_classes(colors), preprocessor(), protocol, settings
            )


def test_progress_counts_what_all_epochs_take(colors, capsys):
    settings = replace(SETTINGS, rates=(1.0,), epochs=4, progress=True)
    labeled = read_classes(colors)
    for protocol, line in (
        ('linear-dino', 'batches of 4 epochs: 12/12 (100 %)'),
        ('linear-cached', 'epochs: 4/4 (100 %)'),
        ('lowshot', 'logistic regressions: 7/7 (100 %)'),
    ):
        evaluate_labeled({'student': encoder()}, labeled, preprocessor(), protocol, settings)
        assert line in capsys.readouterr().err


def test_pa100k_has_attributes(tmp_path):
    from tests.test_downstream.test_attributes.attribute_files import write_pa100k

    write_pa100k(tmp_path)
    labeled = open_labeled(tmp_path)
    assert labeled.has_attributes
    assert len(labeled.names) == 26
    for part in ('train', 'test'):
        assert labeled.targets[part].shape == (len(labeled.paths[part]), 26)
        assert set(np.unique(labeled.targets[part])) == {0, 1}


def test_images_are_read_once_for_all_networks(colors, monkeypatch):
    read, decode = [], saip.datasets.labeled.decode_image
    monkeypatch.setattr(
        saip.datasets.labeled, 'decode_image', lambda path: read.append(path) or decode(path)
    )
    networks = {
        'one': encoder(),
        'other': ViTEncoder(arch=ARCH, img_size=SIZE, feature_level=2),
    }
    networks['other'].init_weights()
    evaluate_labeled(networks, read_classes(colors), preprocessor(), 'knn', SETTINGS)
    assert len(read) == len(set(read)) == 30


@pytest.mark.parametrize('protocol', ['lowshot', 'linear-cached', 'linear-dino', 'attentive'])
def test_a_network_beside_another_scores_as_alone(protocol, colors):
    networks = {'one': encoder(), 'other': encoder()}
    for parameter in networks['other'].parameters():
        parameter.data.mul_(0.5)
    settings = replace(SETTINGS, epochs=2)
    both = evaluate_labeled(networks, read_classes(colors), preprocessor(), protocol, settings)
    assert both['rows']['one'] != both['rows']['other'] or protocol == 'lowshot'
    for name, network in networks.items():
        alone = evaluate_labeled(
            {name: network}, read_classes(colors), preprocessor(), protocol, settings
        )
        assert both['rows'][name] == alone['rows'][name]


def test_the_set_of_a_validation_has_both_parts(colors):
    images = LabeledParts(str(colors), SIZE, limit=12)
    labels = [(int(s['target']), int(s['is_test'])) for s in images]
    assert len(labels) == 12 + 6
    assert sum(test for _, test in labels) == 6
    assert {target for target, test in labels if not test} == {0, 1, 2}


def test_the_tool_chooses_protocols_and_refuses_what_does_not_fit(
    colors, tmp_path, monkeypatch, capsys
):
    model = encoder()
    checkpoint = {
        'state_dict': {f'backbone.{key}': x for key, x in model.state_dict().items()},
        'meta': {'architecture': model.architecture()},
    }
    path = export_backbone(checkpoint, tmp_path, formats=('pth',))
    tool = [str(ROOT / 'tools/eval_frozen.py'), str(path), str(colors)]
    common = ['--workers', '0', '--device', 'cpu', '--json', str(tmp_path / 'out.json')]

    def run(*options):
        monkeypatch.setattr(sys, 'argv', [*tool, *common, *options])
        code = 0
        try:
            runpy.run_path(tool[0], run_name='__main__')
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    code, said, error = run('--protocol', 'knn', '--no-baselines')
    assert code == 0, error
    assert (
        'knn, top-1 in percent: 3 classes, 24 images to learn from, 6 images to test on' in said
    )
    record = json.loads((tmp_path / 'out.json').read_text())
    assert set(record['rows']) == {'student'}
    code, said, error = run()
    assert code == 0, error
    assert 'two-view recall at 1' in said
    assert f'its class folders allow --protocol {", ".join(PROTOCOLS)} as well' in said
    code, said, error = run('--no-baselines')
    assert code == 0, error
    assert set(json.loads((tmp_path / 'out.json').read_text())['rows']) == {'student'}
    code, _, error = run('--protocol', 'knn', '--seeds', '3')
    assert (code, '--seeds is for --protocol lowshot' in error) == (2, True)
    code, _, error = run('--protocol', 'retrieval')
    assert code == 2
    assert '--protocol retrieval needs the layout of Market-1501' in error
    code, _, error = run('--epochs', '3')
    assert (code, '--epochs and --rates are for --protocol linear' in error) == (2, True)


def test_an_unknown_protocol_is_refused(colors):
    with pytest.raises(InputError, match='--protocol svm: choose one of knn'):
        evaluate_labeled({}, read_classes(colors), preprocessor(), 'svm', SETTINGS)
