"""Parts that mmpretrain has, too: its encoder, MAE's decoder and loss, and its averaged model."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.logging import MessageHub
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.heads import MAEPretrainHead
from mmpretrain.models.necks import MAEPretrainDecoder
from mmpretrain.models.utils import CosineEMA
from torch import Tensor

from saip.models.backbones.vit import ViTEncoder
from saip.models.experts import EMAExpert
from saip.models.selfsup import Pretrainer
from saip.structures import EncodeRequest, EncoderOutput, Outputs, PatchMask
from suite.figures import Figure, Part
from suite.interleaved import interleave
from suite.sizes import Sizes
from suite.training import build, model_config

GROUP = "Against mmpretrain's components, float32, one thread, processor time"
SIDE, PATCH = 224, 16


def measure(sizes: Sizes) -> Part:
    """All of them."""
    torch.manual_seed(0)
    model = build(model_config('saip', sizes.encoder))
    mae = build(model_config('mae', sizes.encoder, {'data_preprocessor.size': (SIDE, SIDE)}))
    figures = [
        encoder(model.backbone, sizes),
        decoder(mae, sizes),
        average(model.backbone, sizes.rounds),
    ]
    return Part(figures)


def encoder(ours: ViTEncoder, sizes: Sizes) -> Figure:
    """Views of a DINO step, forward and backward, in one call against one call each."""
    options: dict[str, Any] = dict(img_size=ours.img_size, patch_size=16, out_type='cls_token')
    arch = {
        name: ours.arch_settings[name] for name in ('embed_dims', 'num_layers', 'num_heads')
    }
    arch['feedforward_channels'] = ours.arch_settings['feedforward_channels']
    stock = VisionTransformer(arch=arch, **options)
    stock.load_state_dict(ours.state_dict(), strict=True)
    height, width = ours.img_size
    batch = sizes.batch
    views = [torch.randn(2 * batch, 3, height, width)]
    views += [torch.randn(6 * batch, 3, height // 2, width // 2)]
    asked = [EncodeRequest(x, Outputs(image_token=True)) for x in views]

    def packed() -> Tensor:
        answers = ours.encode_requests(asked)
        return torch.cat([answer.require_final().require_image_token() for answer in answers])

    def calls() -> Tensor:
        parts = [part for x in views for part in x.split(batch)]
        return torch.cat([stock(part)[0] for part in parts])

    with torch.no_grad():
        torch.testing.assert_close(packed(), calls(), rtol=1e-4, atol=1e-4)
    works = {
        'ours': lambda: packed().square().sum().backward(),
        'theirs': lambda: calls().square().sum().backward(),
    }
    return Figure.of_ratio(
        'encoder_over_mmpretrain',
        'encoder: two globals and six local crops, against its VisionTransformer view by view',
        interleave(works, sizes.rounds).ratio('theirs', 'ours'),
        note='image tokens equal to 1e-4 first',
        group=GROUP,
    )


def decoder(model: Pretrainer, sizes: Sizes) -> Figure:
    """MAE's decoder and loss on square images, which is what theirs takes, forward and backward."""
    objective = next(iter(model.objectives.values()))
    neck, head = objective.neck, objective.head
    grid = (SIDE // PATCH, SIDE // PATCH)
    mask, hidden = random_mask(sizes.batch, grid[0] * grid[1], 0.75)
    stock = stock_decoder(neck)
    loss = dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')
    stock_head = MAEPretrainHead(loss, norm_pix=head.norm_pix, patch_size=PATCH)
    images = torch.randn(sizes.batch, 3, SIDE, SIDE)
    dims = model.backbone.embed_dims
    tokens = torch.randn(sizes.batch, 1 + mask.keep.shape[1], dims)
    seen = EncoderOutput(tokens[:, 0], tokens[:, 1:], grid)

    def ours() -> Tensor:
        return head.loss(neck(seen, mask, head.select(mask)), images, mask)

    def theirs() -> Tensor:
        return stock_head.loss(stock(tokens, mask.restore), images, hidden)

    torch.testing.assert_close(ours(), theirs(), rtol=1e-4, atol=1e-5)
    works = {'ours': lambda: ours().backward(), 'theirs': lambda: theirs().backward()}
    return Figure.of_ratio(
        'decoder_over_mmpretrain',
        'MAE: decoder and loss, against its MAEPretrainDecoder and MAEPretrainHead',
        interleave(works, sizes.rounds).ratio('theirs', 'ours'),
        note='losses equal to 1e-4 first; only hidden patches are predicted here',
        group=GROUP,
    )


def random_mask(batch: int, length: int, ratio: float) -> tuple[PatchMask, Tensor]:
    """A mask of random patches, and (B, L) with 1 for a hidden one."""
    order = torch.rand(batch, length).argsort(1)
    kept = int(length * (1 - ratio))
    mask = PatchMask(order[:, :kept], order.argsort(1), order[:, kept:])
    return mask, torch.ones(batch, length).scatter_(1, mask.keep, 0.0)


STOCK_NAMES = {
    '.norm1.': '.ln1.',
    '.norm2.': '.ln2.',
    '.mlp.fc1.': '.ffn.layers.0.0.',
    '.mlp.fc2.': '.ffn.layers.1.',
    'embed.': 'decoder_embed.',
    'norm.': 'ln1.',
    'predict.': 'decoder_pred.',
    'blocks.': 'decoder_blocks.',
}
"""Parts of our keys and of those of mmpretrain's decoder."""


def stock_decoder(neck: Any) -> MAEPretrainDecoder:
    """The decoder of mmpretrain with the same weights and positions."""
    length, dims = neck.positions.shape
    stock = MAEPretrainDecoder(
        num_patches=length,
        patch_size=PATCH,
        embed_dim=neck.embed.in_features,
        decoder_embed_dim=dims,
        decoder_depth=len(neck.blocks),
        decoder_num_heads=neck.blocks[0].attn.num_heads,
    )
    state = {'decoder_pos_embed': torch.cat([torch.zeros(1, dims), neck.positions])[None]}
    for key, value in neck.state_dict().items():
        for part, other in STOCK_NAMES.items():
            inside = part in key if part.startswith('.') else key.startswith(part)
            key = key.replace(part, other, 1) if inside else key
        state[key] = value
    stock.load_state_dict(state, strict=True)
    return stock


def average(student: ViTEncoder, rounds: int) -> Figure:
    """The expert's average of an encoder."""
    hub = MessageHub.get_instance('benchmark')
    hub.update_info('max_iters', 1000)
    ours = EMAExpert(student, momentum=0.996)
    ours.follow({'backbone': student})
    stock = CosineEMA(student, momentum=0.004, end_momentum=0.004)
    stock.update_parameters(student)  # the first copies
    for parameter in student.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    works = {
        'ours': lambda: ours.update(0.996),
        'theirs': lambda: stock.update_parameters(student),
    }
    for work in works.values():
        work()
    pairs = zip(ours.backbone.parameters(), stock.module.parameters(), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    return Figure.of_ratio(
        'average_over_mmpretrain',
        "the expert's average of an encoder, against its CosineEMA",
        interleave(works, rounds).ratio('theirs', 'ours'),
        note='averages equal to 1e-6 first',
        group=GROUP,
    )
