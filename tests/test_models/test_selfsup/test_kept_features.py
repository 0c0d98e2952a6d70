"""A frozen expert encodes the images of a validation once, whatever comes in between."""

import pytest
import torch
from torch import nn

from saip.evaluation.two_view import TwoViewRecall
from saip.models.backbones import ViTEncoder
from saip.models.selfsup.kept_features import KeptFeatures, fingerprints
from saip.registry import MODELS
from tests.tiny import ARCH, batch, build

VIEWS = {'anchor': {'type': 'Crop'}, 'augmented': {'type': 'Crop'}}
EXPERT = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=32)


class Counting:
    """The mean color as image token; counts batches and images."""

    def __init__(self) -> None:
        self.batches = self.images = 0

    def encode(self, images):
        self.batches += 1
        self.images += len(images)
        return Token(images.mean((2, 3)))


class Token:
    def __init__(self, value) -> None:
        self.value = value

    def require_image_token(self):
        return self.value


def pictures(count: int, seed: int = 0, size=(6, 4)):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_images_are_recognized_by_their_content():
    kept, encoder = KeptFeatures(), Counting()
    images = pictures(4)
    first = kept.read(encoder, images, 'image_token')
    assert encoder.batches == 1
    # In another order and number, in memory of their own: nothing is encoded.
    for order in ([3, 1], [0, 1, 2, 3], [2, 2]):
        again = kept.read(encoder, images[order].clone(), 'image_token')
        assert torch.equal(again, first[order])
    assert encoder.batches == 1
    strange = pictures(4, seed=1)
    assert torch.equal(kept.read(encoder, strange, 'image_token'), strange.mean((2, 3)))
    assert encoder.batches == 2


@pytest.mark.parametrize(
    'change',
    [
        lambda x: x + _at(x, 1e-6),
        lambda x: x.flip(3),
        lambda x: x.flip(1),
        lambda x: x.view(3, 3, 4, 6),
        lambda x: x.double(),
    ],
    ids=['one pixel by 1e-6', 'mirrored', 'channels', 'another shape', 'another type'],
)
def test_what_differs_is_encoded(change):
    kept, encoder = KeptFeatures(), Counting()
    images = pictures(3)
    kept.read(encoder, images, 'image_token')
    kept.read(encoder, change(images), 'image_token')
    assert encoder.batches == 2


def _at(images, value: float):
    change = torch.zeros_like(images)
    change[:, 1, 2, 3] = value
    return change


def test_another_precision_is_encoded():
    kept, encoder = KeptFeatures(), Counting()
    images = pictures(2)
    kept.read(encoder, images, 'image_token')
    with torch.autocast('cpu', torch.bfloat16):
        kept.read(encoder, images, 'image_token')
        kept.read(encoder, images, 'image_token')
    assert encoder.batches == 2


def test_memory_is_bounded_and_serves_the_first_images():
    kept, encoder = KeptFeatures(memory=5 * 3 * 4), Counting()
    images = pictures(8)
    for part in images.split(2):
        kept.read(encoder, part, 'image_token')
    assert len(kept._features) == 5
    assert {x.untyped_storage().nbytes() for x in kept._features.values()} == {12}
    encoder.batches = 0
    for part in images.split(2):
        assert torch.equal(kept.read(encoder, part, 'image_token'), part.mean((2, 3)))
    assert (
        encoder.batches == 2
    )  # the third batch has one image that did not fit, the fourth two


def test_fingerprints_are_sums_modulo_2_to_the_64():
    """Against Python's whole numbers; no two of many images share one."""
    images = pictures(3)
    kept = fingerprints(images)
    lone = torch.zeros(1, 3, 6, 4)
    weights = []
    for place in range(72):  # the bits of 2^-149, the smallest float, are those of the number 1
        lone.view(torch.int32).view(-1)[place] = 1
        weights.append(fingerprints(lone)[0].tolist())
        lone.zero_()
    assert all(weight % 2 for pair in weights for weight in pair)
    bits = images.flatten(1).view(torch.int32).tolist()
    for row, values in zip(kept.tolist(), bits, strict=True):
        for word, found in enumerate(row):
            exact = sum(v * w[word] for v, w in zip(values, weights, strict=True))
            assert (exact - found) % 2**64 == 0
    many = fingerprints(pictures(2000, size=(2, 2)))
    assert len({tuple(row) for row in many.tolist()}) == 2000


@pytest.fixture(scope='module')
def expert_file(tmp_path_factory) -> str:
    torch.manual_seed(7)
    encoder = ViTEncoder(arch=EXPERT, img_size=(128, 64), feature_level=None)
    encoder.init_weights()
    path = tmp_path_factory.mktemp('expert') / 'expert.pth'
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    torch.save({'state_dict': state, 'meta': {'architecture': encoder.architecture()}}, path)
    return str(path)


def star(expert_file: str):
    cfg = dict(
        type='saip.Pretrainer',
        backbone=dict(type='saip.ViTEncoder', arch=ARCH, feature_level=2),
        data_preprocessor=dict(
            type='saip.ViewsPreprocessor', size=(128, 64), patch_size=16, views=VIEWS
        ),
        expert=dict(
            type='saip.FrozenExpert',
            encoder=dict(
                type='saip.ViTEncoder', arch=EXPERT, img_size=(128, 64), feature_level=None
            ),
            checkpoint=expert_file,
        ),
        objectives=dict(
            csm=dict(
                type='saip.FeatureDistillation',
                target='expert_globals',
                neck=dict(
                    type='saip.FeatureProjector', hidden_channels=8, bottleneck_channels=8
                ),
                head=dict(type='saip.FeatureDistillationHead'),
            )
        ),
    )
    cfg['data_preprocessor']['views'] = {
        **VIEWS,
        'local_crops': {'type': 'Crop', 'size': (64, 32)},
        'multires': {'type': 'Rescale', 'of': 'anchor', 'number': 1, 'scales': (0.5,)},
    }
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.eval()


def count_encodes(encoder: nn.Module, monkeypatch) -> list[int]:
    """Number of images of every call."""
    seen: list[int] = []
    encode = encoder.encode_requests

    def counted(requests):
        seen.extend(len(request.images) for request in requests)
        return encode(requests)

    monkeypatch.setattr(encoder, 'encode_requests', counted)
    return seen


def validate(model, firsts) -> dict[str, float]:
    metric = TwoViewRecall()
    size = 0
    for first in firsts:
        samples = model(**model.data_preprocessor(batch(3, first), False), mode='predict')
        metric.process({}, samples)
        size += len(samples)
    return metric.evaluate(size)


def test_two_validations_encode_once_and_report_the_same(expert_file, monkeypatch):
    model = star(expert_file)
    seen = count_encodes(model.expert.encoder(), monkeypatch)
    fresh = validate(model, (0, 10))
    assert seen == [3] * 4  # two batches of two views
    own = count_encodes(model.backbone, monkeypatch)
    assert validate(model, (0, 10)) == fresh
    assert (len(seen), len(own)) == (4, 4)
    # Another data set whose samples have the same numbers.
    other = validate(model, (20, 30))
    assert len(seen) == 8
    assert other == validate(star(expert_file), (20, 30))
    # What is kept is no part of a checkpoint, so a resumed run encodes again.
    resumed = star(expert_file)
    resumed.load_state_dict(model.state_dict(), strict=True)
    again = count_encodes(resumed.expert.encoder(), monkeypatch)
    assert validate(resumed, (0, 10)) == fresh
    assert len(again) == 4


def test_a_student_that_learns_is_encoded_every_time(monkeypatch):
    model = build(without=('csr', 'css')).eval()
    data = model.data_preprocessor(batch(2), False)
    before = model(**data, mode='predict')
    with torch.no_grad():
        for encoder in (model.backbone, model.expert.encoder()):
            encoder.ln1.weight.add_(torch.linspace(0, 1, len(encoder.ln1.weight)))
    for one, two in zip(before, model(**data, mode='predict'), strict=True):
        for branch in ('student', 'expert'):
            assert not torch.allclose(one[branch], two[branch])
