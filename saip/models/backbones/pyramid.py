"""Feature pyramids of encoders, as backbones of detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder, check_strides, refuse_weights
from saip.models.ops.batch_norm import synchronize_batch_norm
from saip.models.ops.freeze import freeze_unread
from saip.registry import MODELS

NORMS: dict[str, type[nn.Module]] = {'LN': LayerNorm2d, 'BN': nn.BatchNorm2d}


@MODELS.register_module()
class FeaturePyramid(BaseModule):
    """Maps of an encoder at several strides, for a neck such as mmdet's FPN.

    Maps that the encoder has are returned unchanged; the double of its coarsest stride is pooled
    from its coarsest map. An encoder with a single map, a plain ViT,
    gets the others made from it by ViTDet's rule (Li et al., Exploring Plain Vision Transformer
    Backbones for Object Detection, 2022, section 3): a quarter of its stride by two 2x2
    deconvolutions with LayerNorm and GELU between, half by one, the double by 2x2 max pooling.
    LayerNorm goes over the channels, so the batch may be one image. Pooling keeps the last row and
    column of an odd map, as a convolution with padding does. ``norm`` and ``coarsest`` exchange two
    of these layers for those of the paper's authors.

    Args:
        encoder: configuration of the encoder; its ``init_cfg`` loads its weights strictly.
        strides: of the maps, in the order in which :meth:`forward` returns them; of an encoder
            with ``output_stride=16`` (4, 8, 16, 16) are its own maps, and of (4, 8, 16, 32) the
            last is made from its last.
        norm: between the two deconvolutions, ``LN`` over the channels or ``BN``, which several
            processes synchronize.
        coarsest: what doubles the stride, ``pool`` or ``conv``, a 3x3 convolution.
        init_cfg: only for initializers; pretrained weights belong to ``encoder``.

    Attributes:
        pyramid_channels: channels of the maps, in the order of ``strides``.

    Raises:
        InputError: the encoder neither has a map at one of the strides nor can it be made, or an
            option has an unknown value.
        WeightsError: ``init_cfg`` asks for pretrained weights.
    """

    def __init__(
        self,
        encoder: dict[str, Any],
        strides: Sequence[int] = (4, 8, 16, 32),
        norm: Literal['LN', 'BN'] = 'LN',
        coarsest: Literal['pool', 'conv'] = 'pool',
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        refuse_weights('saip.FeaturePyramid', init_cfg)
        super().__init__(init_cfg)
        if len(strides) == 0:
            raise InputError('saip.FeaturePyramid: strides is empty; name at least one')
        if norm not in NORMS or coarsest not in ('pool', 'conv'):
            raise InputError(
                f"saip.FeaturePyramid: norm={norm!r}, coarsest={coarsest!r}; choose 'LN' or 'BN', "
                "and 'pool' or 'conv'"
            )
        self.encoder: BaseEncoder = MODELS.build(encoder)
        self.strides = tuple(strides)
        own, actual = self.encoder.map_channels, self.encoder.map_strides
        self.sources = _choose_sources(self.strides, actual)
        self.read_strides = sorted(set(self.sources))
        check_strides(self.encoder, self.read_strides)
        levels, self.pyramid_channels = [], []
        for stride, source in zip(self.strides, self.sources, strict=True):
            level, channels = _make_level(
                own[source], actual[source], stride, NORMS[norm], coarsest
            )
            levels.append(level)
            self.pyramid_channels.append(channels)
        self.levels = nn.ModuleList(levels)
        if get_world_size() > 1:
            synchronize_batch_norm(self.levels)
        # The encoder has frozen what its own forward does not read; here the maps are others.
        self.encoder.requires_grad_(True)
        freeze_unread(self.encoder, self._read)

    def init_weights(self) -> None:
        """Initialize the encoder, or load its weights, and the pyramid's own layers.

        Each cell of a deconvolution whose stride equals its kernel sums over the input channels
        alone, so weights of variance 1 / channels keep the scale of the encoder's map.
        """
        super().init_weights()
        for layer in self.levels.modules():
            if isinstance(layer, nn.ConvTranspose2d | nn.Conv2d):
                cells = 1 if isinstance(layer, nn.ConvTranspose2d) else 9
                nn.init.normal_(layer.weight, std=(layer.in_channels * cells) ** -0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, h, w) -> a map (B, C, about h / stride, about w / stride) for each stride."""
        maps = dict(zip(self.read_strides, self._read(images), strict=True))
        pairs = zip(self.levels, self.sources, strict=True)
        # Contiguous, since mmcv's RoIAlign ignores strides.
        return tuple(level(maps[source]).contiguous() for level, source in pairs)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter and number of layers, for learning rates that decay with depth.

        The encoder's layers have its own depths; the pyramid's follow the encoder and have, like a
        name without ``prefix``, the number of layers minus 1.
        """
        return self.encoder.get_layer_depth(param_name, f'{prefix}encoder.')

    def _read(self, images: Tensor) -> list[Tensor]:
        """The encoder's own maps that the pyramid needs, finest first."""
        return self.encoder.feature_maps(images, self.read_strides)


def _choose_sources(strides: Sequence[int], actual: dict[int, int]) -> list[int]:
    """Key of the encoder's map that each wanted map is, or is made from.

    A single map gives all. Of several the coarsest stage comes first: where its map has the
    stride of the one before, a pyramid of strides 16 and 16 takes both, and one that names 16 once
    takes the last. Twice the coarsest stride is made from the coarsest map.

    Args:
        strides: wanted, in any order; one that is named more often than there are maps of it gives
            a map twice.
        actual: strides of the encoder's maps by their keys.
    """
    if len(actual) == 1:
        return list(actual) * len(strides)
    left, coarsest = dict(actual), max(actual)
    found: dict[int, int] = {}
    for place in sorted(range(len(strides)), key=lambda i: (strides[i], i), reverse=True):
        wanted = strides[place]
        fitting = [key for key, stride in left.items() if wanted in (key, stride)]
        if fitting:
            found[place] = max(fitting)
            left.pop(found[place])
        else:  # one that can neither be found nor made is refused later
            found[place] = coarsest if wanted == 2 * actual[coarsest] else wanted
    return [found[place] for place in range(len(strides))]


def _make_level(
    dims: int, source: int, stride: int, norm: type[nn.Module], coarsest: str
) -> tuple[nn.Module, int]:
    """Layers from a map of ``dims`` channels and stride ``source``, and their channels.

    Raises:
        InputError: ViTDet's rule has no layers for this pair of strides.
    """
    if stride == source:
        return nn.Identity(), dims
    if stride == 2 * source and coarsest == 'conv':
        return nn.Conv2d(dims, dims, 3, stride=2, padding=1), dims
    if stride == 2 * source:
        return nn.MaxPool2d(2, ceil_mode=True), dims
    if 2 * stride == source:
        return _double(dims, dims // 2), dims // 2
    if 4 * stride == source:
        layers = [
            _double(dims, dims // 2),
            norm(dims // 2),
            nn.GELU(),
            _double(dims // 2, dims // 4),
        ]
        return nn.Sequential(*layers), dims // 4
    made = [s for s in (source // 4, source // 2, source, 2 * source) if s]
    raise InputError(
        f'saip.FeaturePyramid: no map of stride {stride} can be made from the single map of '
        f'stride {source}; choose among {", ".join(map(str, made))}'
    )


def _double(channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """(B, C, h, w) -> (B, C', 2h, 2w)."""
    return nn.ConvTranspose2d(channels, out_channels, kernel_size=2, stride=2)
