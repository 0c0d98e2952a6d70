"""Views that share a request, and what each gets of the answer."""

import pytest
import torch
from torch import nn

from saip.models.backbones import ViTEncoder
from saip.models.selfsup.encoding import encode_views
from saip.structures import Outputs, PatchMask, View, Views
from tests.tiny import ARCH

SIZE = (64, 32)  # 4 x 2 patches


@pytest.fixture(scope='module')
def encoder() -> ViTEncoder:
    torch.manual_seed(0)
    encoder = ViTEncoder(arch=ARCH, img_size=SIZE, patch_size=16, feature_level=2)
    encoder.init_weights()
    return encoder.eval()


def mask(keep: list[list[int]]) -> PatchMask:
    kept = torch.tensor(keep)
    hidden = torch.tensor([[i for i in range(8) if i not in row] for row in keep])
    return PatchMask(kept, torch.cat([kept, hidden], 1).argsort(1), hidden)


@pytest.fixture
def views() -> Views:
    generator = torch.Generator().manual_seed(1)
    images, small = (torch.randn(2, 3, *size, generator=generator) for size in (SIZE, (32, 32)))
    return Views(
        {
            'a': View(images, mask([[0, 3, 5], [1, 2, 7]])),
            'b': View(images, mask([[2, 4, 6], [0, 3, 4]])),
            'fewer': View(images, mask([[1, 6], [5, 7]])),
            'whole': View(images),
            'other': View(images.flip(-1)),
            'small': View(small),
        }
    )


@pytest.fixture
def requests(encoder, monkeypatch) -> list:
    """All requests that the encoder gets."""
    seen: list = []
    original = encoder.encode_requests

    def spy(each):
        seen.extend(each)
        return original(each)

    monkeypatch.setattr(encoder, 'encode_requests', spy)
    return seen


def test_masks_of_equal_size_and_number_share_a_request(encoder, views, requests):
    needs = dict.fromkeys(views.by_name, Outputs(image_token=True, patch_tokens=True))
    found = encode_views(encoder, nn.Identity(), views, needs)
    shared, fewer, whole, small = requests
    assert torch.equal(shared.images, torch.cat([views['a'].images] * 2))
    assert torch.equal(shared.keep, torch.cat([views[name].mask.keep for name in 'ab']))
    assert torch.equal(fewer.keep, views['fewer'].mask.keep)
    assert (len(whole.images), whole.keep) == (4, None)
    assert (len(small.images), small.keep) == (2, None)
    del requests[:]
    for name, view in views.by_name.items():
        keep = None if view.mask is None else view.mask.keep
        expected = encoder.encode(view.images, keep)
        final = found[name].require_final()
        torch.testing.assert_close(final.image_token, expected.image_token)
        torch.testing.assert_close(final.patch_tokens, expected.patch_tokens)
        assert final.grid == expected.grid
    assert len(requests) == 6


def test_views_that_go_to_another_depth_have_a_request_of_their_own(encoder, views, requests):
    dense, final = Outputs(dense=True), Outputs(image_token=True)
    needs = {'a': dense, 'b': final, 'whole': dense, 'other': final | dense}
    found = encode_views(encoder, nn.Identity(), views, needs)
    assert [r.outputs for r in requests] == [dense, final, dense, final | dense]
    assert found['a'].final is found['b'].dense is None
    # The norm of dense features reaches what was read at that level and nothing else.
    doubled = encode_views(encoder, Double(), views, needs)
    for name in ('a', 'whole', 'other'):
        plain, twice = (x[name].require_dense() for x in (found, doubled))
        torch.testing.assert_close(twice.patch_tokens, 2 * plain.patch_tokens)
        torch.testing.assert_close(twice.image_token, 2 * plain.image_token)
    token = found['other'].require_final().image_token
    torch.testing.assert_close(doubled['other'].require_final().image_token, token)


class Double(nn.Module):
    def forward(self, x):
        return 2 * x


def test_nothing_is_asked_of_an_encoder_that_nobody_reads(encoder, views, requests):
    assert encode_views(encoder, nn.Identity(), views, {}) == {}
    assert requests == []
