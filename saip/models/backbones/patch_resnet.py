"""A small residual network that a CPU can train in bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.backbones.hierarchical import HierarchicalEncoder, Masking, OutType
from saip.registry import MODELS

STEM = 4
"""Pixels per cell of the stem's map; every later stage halves the map."""

STRIPES = 4
"""Parts of the image, from top to bottom, whose features the image token holds side by side."""


@MODELS.register_module()
class PatchResNetEncoder(HierarchicalEncoder):
    """Residual blocks (He et al., 2016) behind a patch embedding, for short trainings on a CPU.

    No convolution has both a stride and windows that overlap: the stem embeds patches of 4x4
    pixels and average pooling halves the maps, so that the network may compute in bfloat16 on a
    CPU, see :mod:`saip.engine.cpu_bfloat16`. It ends at stride 16.

    The image token is the maximum over each of four horizontal stripes of the last map, side by
    side, as networks for person ReID pool (stripes: Sun et al., Beyond Part Models, 2018): a
    person stands upright and fills a part of the image only.

    Args:
        channels: of the stages, whose strides are 4, 8, 16.
        depths: residual blocks of each stage.
        width: channels of the last map, to which a 1x1 convolution widens the last stage; the
            image token has four times as many.
        img_size: (height, width) that the encoder is trained at; any other size works.
        feature_level: 16, whose map the dense objectives read, or None, which is the same map.
        drop_path_rate: stochastic depth, growing from 0 to this rate in the last block.
        out_strides: strides of the maps that :meth:`forward` returns.
        out_type: ``featmap`` or ``image_token``.
        masking: how masked images are encoded, see :class:`HierarchicalEncoder`.
        controller: refused unless None.
        init_cfg: None, or ``dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.

    Raises:
        InputError: ``channels`` and ``depths`` are no three positive numbers each, or an option is
            unknown or wrong.
    """

    attention_is = 'contribution to the image token'

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128),
        depths: Sequence[int] = (1, 1, 2),
        width: int = 256,
        img_size: tuple[int, int] = (256, 128),
        feature_level: int | None = 16,
        drop_path_rate: float = 0.0,
        out_strides: Sequence[int] = (16,),
        out_type: OutType = 'featmap',
        masking: Masking = 'visible_cells',
        controller: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(
            img_size, feature_level, out_strides, out_type, masking, init_cfg, unknown
        )
        for name, numbers in (('channels', channels), ('depths', depths)):
            if len(numbers) != 3 or min(numbers) < 1:
                raise InputError(
                    f'PatchResNetEncoder {name}={numbers!r}: three positive numbers are needed, '
                    'one for each of the strides 4, 8, 16'
                )
        self.channels, self.depths = tuple(channels), tuple(depths)
        self.width, self.drop_path_rate = width, drop_path_rate
        self.resnet = self._create()
        strides = {STEM: channels[0], 2 * STEM: channels[1], 4 * STEM: width}
        self._finish(strides, STRIPES * width, controller)

    def _title(self) -> str:
        return 'patch-resnet'

    def _network(self) -> nn.Module:
        return self.resnet

    def _create(self) -> _Network:
        return _Network(self.channels, self.depths, self.width, self.drop_path_rate)

    def _run(self, images: Tensor, strides: Sequence[int]) -> dict[int, Tensor]:
        x, maps = self.resnet.stem(images), {}
        for stride, stage in zip(self.map_channels, self.resnet.stages, strict=True):
            if stride > max(strides):
                break
            x = maps[stride] = stage(x)
        return {stride: maps[stride] for stride in strides}

    def _pool(self, last: Tensor) -> Tensor:
        stripes = [last[:, :, first:end] for first, end in _limits(last.shape[2])]
        return torch.cat([stripe.amax((2, 3)) for stripe in stripes], 1)

    def attention_map(self, images: Tensor) -> Tensor:
        """Share of the image token's squared length that each cell gives, (B, 1, h, w).

        A cell gives the entries of the image token that are its own values, the largest of their
        stripe. The shares sum to 1.

        Args:
            images: (B, 3, h, w), normalized.
        """
        (last,) = self.feature_maps(images, [self.last_stride])
        shares = last.new_zeros(len(last), last.shape[2] * last.shape[3])
        for first, end in _limits(last.shape[2]):
            values, cells = last[:, :, first:end].flatten(2).max(-1)
            shares.scatter_add_(1, cells + first * last.shape[3], values.square())
        shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)
        return shares.view(len(last), 1, *last.shape[2:])

    def architecture(self) -> dict[str, Any]:
        """Plain values that build this encoder again, plus the grid of stride 16."""
        return {
            'type': 'saip.PatchResNetEncoder',
            'channels': list(self.channels),
            'depths': list(self.depths),
            'width': self.width,
            **self._describe(),
        }

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter, counted in stages behind the stem, and number of layers."""
        layers = len(self.resnet.stages) + 2
        prefix = f'{prefix}resnet.'
        if not param_name.startswith(prefix):
            return layers - 1, layers
        part, number, *_ = param_name.removeprefix(prefix).split('.')
        return (0 if part == 'stem' else int(number) + 1), layers


def _limits(rows: int) -> list[tuple[int, int]]:
    """First row and the one after the last of each stripe; they share rows where some are short."""
    return [(i * rows // STRIPES, -(-(i + 1) * rows // STRIPES)) for i in range(STRIPES)]


class _Network(nn.Module):
    """The stem and the three stages; the last ends with the widened map."""

    def __init__(
        self, channels: Sequence[int], depths: Sequence[int], width: int, drop_path: float
    ) -> None:
        super().__init__()
        last = max(sum(depths) - 1, 1)
        rates = (drop_path * place / last for place in range(sum(depths)))
        self.stem = _conv_bn(3, channels[0], STEM, stride=STEM).append(nn.ReLU())
        stages, before = [], channels[0]
        for place, (after, depth) in enumerate(zip(channels, depths, strict=True)):
            blocks: list[nn.Module] = [nn.AvgPool2d(2)] if place else []
            blocks += [
                _Block(before if i == 0 else after, after, next(rates)) for i in range(depth)
            ]
            stages.append(nn.Sequential(*blocks))
            before = after
        stages[-1].extend(_conv_bn(before, width, 1).append(nn.ReLU()))
        self.stages = nn.ModuleList(stages)


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, with BatchNorm; begins as the shortcut alone."""

    def __init__(self, before: int, after: int, drop_path: float) -> None:
        super().__init__()
        self.residual = _conv_bn(before, after, 3).append(nn.ReLU())
        self.residual.extend(_conv_bn(after, after, 3))
        self.shortcut = nn.Identity() if before == after else _conv_bn(before, after, 1)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        nn.init.zeros_(self.residual.get_parameter('4.weight'))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h, w)."""
        return (self.shortcut(x) + self.drop_path(self.residual(x))).relu()


def _conv_bn(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution and BatchNorm; with a stride of 1 it keeps the map's size."""
    padding = kernel // 2 if stride == 1 else 0
    convolution = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after))
