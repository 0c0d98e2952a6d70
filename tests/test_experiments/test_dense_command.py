"""Probes of body parts and keypoints through the command line, on people drawn by code."""

import json

import pytest
import torch

from saip.checkpoint import export_backbone, file_sha256
from saip.experiments.dense_eval import DenseData, PlaceAlone, evaluate_dense
from saip.models.backbones import ViTEncoder
from saip.registry import MODELS
from saip.synthetic.formats import write_coco, write_lip
from tests.tiny import ARCH
from tests.tools import call_tool

SIZE = (64, 32)
METRICS = {'parts mIoU', 'keypoints PCK@0.1'}


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp('people')
    write_lip(root / 'LIP')
    write_coco(root / 'coco')
    return root


@pytest.fixture
def run(people, tmp_path, monkeypatch, capsys):
    """The tool on a file; its exit status, table, message and record."""

    def call(file, *options):
        out = tmp_path / 'out.json'
        out.unlink(missing_ok=True)
        arguments = [
            file, people / 'LIP', '--workers', 0, '--device', 'cpu', '--json', out, *options,
        ]  # fmt: skip
        code = call_tool(monkeypatch, 'eval_frozen.py', *arguments)
        record = json.loads(out.read_text()) if out.exists() else {}
        return code, *capsys.readouterr(), record

    return call


def export(folder, blind: bool):
    """A file with an encoder; a blind one gives the same token for every patch of every image."""
    torch.manual_seed(1)
    model = ViTEncoder(arch=ARCH, img_size=SIZE, feature_level=2)
    model.init_weights()
    if blind:
        for parameter in (*model.patch_embed.parameters(), model.pos_embed):
            torch.nn.init.zeros_(parameter)
    checkpoint = {
        'state_dict': {f'backbone.{key}': x for key, x in model.state_dict().items()},
        'meta': {'architecture': model.architecture()},
    }
    return export_backbone(checkpoint, folder, formats=('pth',)), model


def test_the_table_is_that_of_the_probes(people, tmp_path, run):
    file, model = export(tmp_path / 'seeing', blind=False)
    options = ('--protocol', 'dense', '--keypoints', people / 'coco')
    code, said, error, record = run(file, *options)
    assert code == 0, error
    assert 'dense, percent: 8 images to test on; feature patch tokens' in said
    assert record['tested'] == 8
    assert record['sha256'] == file_sha256(file)
    # A color histogram and coarse pixels have no patch tokens.
    assert list(record['rows']) == ['student', 'random weights']
    assert all(row.keys() == METRICS for row in record['rows'].values())
    preprocessor = MODELS.build(
        dict(type='saip.ViewsPreprocessor', size=SIZE, patch_size=16, views={})
    )
    data = DenseData(str(people / 'LIP'), str(people / 'coco'))
    expected = evaluate_dense(model, data, preprocessor, SIZE, 'cpu', 0).metrics()
    assert record['rows']['student'] == pytest.approx(expected)
    for value in expected.values():
        assert f'{value:.1f}' in said


def test_an_encoder_that_sees_nothing_knows_places_alone(people, tmp_path, run):
    blind, _ = export(tmp_path / 'blind', blind=True)
    options = ('--protocol', 'dense', '--keypoints', people / 'coco', '--no-baselines')
    code, _, error, record = run(blind, *options)
    assert code == 0, error
    assert set(record['rows']) == {'student'}
    preprocessor = MODELS.build(
        dict(type='saip.ViewsPreprocessor', size=SIZE, patch_size=16, views={})
    )
    data = DenseData(str(people / 'LIP'), str(people / 'coco'))
    places = evaluate_dense(PlaceAlone((4, 2)), data, preprocessor, SIZE, 'cpu', 0).metrics()
    assert record['rows']['student'] == pytest.approx(places)


def test_what_does_not_fit_is_one_line(people, tmp_path, run):
    file, _ = export(tmp_path / 'file', blind=False)
    code, _, error, _ = run(file, '--protocol', 'dense')
    assert (code, '--keypoints COCO and --protocol dense go together' in error) == (2, True)
    code, _, error, _ = run(file, '--keypoints', people / 'coco')
    assert (code, '--keypoints COCO and --protocol dense go together' in error) == (2, True)
    wrong = ('--protocol', 'dense', '--keypoints', people / 'LIP')
    code, _, error, _ = run(file, *wrong)
    assert code == 2
    assert 'COCO keypoints are a folder with annotations/person_keypoints_' in error
    code, _, error, _ = run('histogram', '--protocol', 'dense', '--keypoints', people / 'coco')
    assert code == 2
    assert '--protocol dense reads patch tokens, and histogram has none' in error
