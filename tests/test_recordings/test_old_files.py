"""Files of the first form are read: trainings go on, networks are evaluated and exported."""

import json
from pathlib import Path

import pytest
import torch

from saip.checkpoint import encoder_of, export_backbone, load_checkpoint_file, load_encoder
from saip.checkpoint.strict import load_pretrained
from saip.models.backbones import ViTEncoder
from tests.test_recordings import old, runs
from tests.test_recordings.cases import PATCH, VIT, Case
from tests.test_recordings.record import FILE
from tests.test_recordings.test_recording import compare

RECORDED = json.loads(FILE.read_text())['runs']


def cases():
    yield from (pytest.param(case, id=case.name) for case in old.SMALL_CASES)
    for case in old.LARGER_CASES:
        marks = [pytest.mark.skipif(not old.LARGER, reason='SAIP_OLD_FILES is not set')]
        marks += [pytest.mark.dist] if case.processes > 1 else []
        yield pytest.param(case, id=case.name, marks=marks)


@pytest.mark.usefixtures('fresh_mmengine')
@pytest.mark.parametrize('case', cases())
def test_a_training_goes_on_with_the_losses_that_it_would_have_had(case: Case, tmp_path: Path):
    path = old.checkpoint(case, tmp_path)
    found = runs.run(case, tmp_path, resume=True, load_from=str(path))
    recorded = RECORDED[case.name]
    compare(found, {**recorded, 'losses': recorded['losses'][10:]})


@pytest.mark.parametrize('which', ['student', 'expert'])
def test_a_checkpoint_is_read_and_exported(which, tmp_path):
    path = old.checkpoint(Case('saip'), tmp_path)
    encoder, about = load_encoder(path, which)
    assert about['preset'] is None  # the recorded configuration names none
    assert about['objectives'] == ['csm', 'csr', 'css']
    stored = load_checkpoint_file(path)['state_dict']
    prefix = {'student': 'backbone.', 'expert': 'expert.backbone.'}[which]
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, stored[f'{prefix}{key}'].to(value.dtype)), key
    exported = export_backbone(load_checkpoint_file(path), tmp_path, which=which)
    before = load_checkpoint_file(old.FOLDER / old.EXPORTED[which][0])
    after = load_checkpoint_file(exported)
    assert after['meta']['architecture'] == before['meta']['architecture']
    assert after['meta']['tensors_sha256'] == before['meta']['tensors_sha256']


@pytest.mark.parametrize('name', [n for names in old.EXPORTED.values() for n in names])
def test_an_exported_backbone_loads_strictly(name):
    path = str(old.FOLDER / name)
    encoder = ViTEncoder(
        arch=VIT, patch_size=PATCH, img_size=(64, 32), feature_level=2
    ).double()
    report = load_pretrained(encoder, {'checkpoint': path, 'prefix': 'backbone.'})
    assert report.tensors == len(encoder.state_dict())
    built, _ = encoder_of(
        load_checkpoint_file(path), 'expert' if 'expert' in name else 'student'
    )
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    expected = built.double().encode(images).require_image_token()
    assert torch.equal(encoder.eval().encode(images).require_image_token(), expected)
