"""MAE's fixed positions: row by row on grids that are not square, and not trained."""

import math

import pytest
import torch
from mmengine.runner import save_checkpoint
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import build_2d_sincos_position_embedding

from saip.errors import InputError
from saip.models.backbones import ViTEncoder, build_encoder
from saip.models.ops.pos_embed import resample_grid, sincos_positions
from tests.tiny import ARCH


@pytest.mark.parametrize('grid', [(16, 8), (8, 16), (3, 5), (4, 4)])
@pytest.mark.parametrize('dims', [4, 24])
def test_every_value_against_its_formula(grid, dims):
    table = sincos_positions(grid, dims)
    assert table.shape == (grid[0] * grid[1], dims)
    quarter = dims // 4
    for row in range(grid[0]):
        for column in range(grid[1]):
            expected = []
            for place in (column, row):
                angles = [place / 10000 ** (i / quarter) for i in range(quarter)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            found = table[row * grid[1] + column].tolist()
            assert found == pytest.approx(expected, abs=1e-6)


def test_mmpretrains_table_agrees_on_squares_only():
    """On squares it is the same table with rows and columns exchanged, which nothing notices."""
    stock = build_2d_sincos_position_embedding(5, 24)[0]
    exchanged = stock.view(5, 5, 24).transpose(0, 1).reshape(25, 24)
    torch.testing.assert_close(sincos_positions((5, 5), 24), exchanged, atol=1e-6, rtol=0)
    wrong = build_2d_sincos_position_embedding((16, 8), 24)[0].view(16, 8, 24)
    ours = sincos_positions((16, 8), 24).view(16, 8, 24)
    # A function of the column alone is the same in all rows, of the row alone in all columns.
    assert torch.equal(ours[:1, :, :12].expand(16, -1, -1), ours[..., :12])
    assert torch.equal(ours[:, :1, 12:].expand(-1, 8, -1), ours[..., 12:])
    # The stock table's second half is a function of neither.
    assert not torch.equal(wrong[:1, :, 12:].expand(16, -1, -1), wrong[..., 12:])
    assert not torch.equal(wrong[:, :1, 12:].expand(-1, 8, -1), wrong[..., 12:])


def test_a_width_without_quarters_is_refused():
    with pytest.raises(InputError, match='multiple of 4, not 6'):
        sincos_positions((2, 2), 6)


def encoder_of(size, **options):
    encoder = ViTEncoder(
        arch=ARCH, img_size=size, feature_level=2, pos_init='sincos', **options
    )
    encoder.init_weights()
    return encoder.eval()


def test_the_encoders_table_is_fixed_and_its_keys_are_stock():
    encoder = encoder_of((256, 128))
    assert not encoder.pos_embed.requires_grad
    assert not encoder.pos_embed[0, 0].any()
    torch.testing.assert_close(encoder.pos_embed[0, 1:], sincos_positions((16, 8), 48))
    stock = VisionTransformer(arch=ARCH, img_size=(256, 128), patch_size=16, out_type='raw')
    stock.load_state_dict(encoder.state_dict(), strict=True)
    again = build_encoder(encoder.architecture())
    again.load_state_dict(encoder.state_dict(), strict=True)
    stock.eval(), again.eval()
    for size in ((256, 128), (128, 64), (224, 224)):  # views of other sizes resample the table
        images = torch.randn(2, 3, *size)
        with torch.no_grad():
            expected = stock(images)[0]
            for one in (encoder, again):
                torch.testing.assert_close(one.encode(images).image_token, expected[:, 0])
                torch.testing.assert_close(one.encode(images).patch_tokens, expected[:, 1:])


def test_weights_of_another_grid_bring_their_positions(tmp_path):
    """As HAP begins with MAE: the file's table, resampled, takes the place of the fixed one."""
    source = encoder_of((256, 128))
    source.pos_embed.data.mul_(2)
    state = {f'backbone.{name}': value for name, value in source.state_dict().items()}
    meta = {'architecture': source.architecture()}
    save_checkpoint({'state_dict': state, 'meta': meta}, str(tmp_path / 'file.pth'))
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'file.pth'), prefix='backbone.')
    encoder = encoder_of((256, 192), init_cfg=init)
    expected = resample_grid(2 * sincos_positions((16, 8), 48), (16, 8), (16, 12))
    torch.testing.assert_close(encoder.pos_embed[0, 1:], expected)
    assert not encoder.pos_embed.requires_grad
