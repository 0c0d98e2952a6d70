"""Encoders whose maps become coarser stage by stage: CNNs and hybrids."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder, check_strides
from saip.models.ops.batch_norm import synchronize_batch_norm
from saip.models.ops.freeze import freeze_unread
from saip.models.ops.several_passes import several_passes
from saip.models.ops.visible_cells import VisibleCells
from saip.structures import EncodeRequest, EncoderOutput, Grid, Outputs, ViewFeatures

PATCH = 16
"""Pixels per patch: masks, and the stage that the dense objectives read, have this stride."""

OutType = Literal['featmap', 'image_token']
Masking = Literal['visible_cells', 'fill']


class HierarchicalEncoder(BaseEncoder):
    """What all encoders with several strides share; a subclass runs the network.

    * Image token: the network's own pooling of its last map. Patch tokens: the last map.
    * Dense features: the stage of stride 16, before any norm; their image token is the mean of
      the (visible) patch tokens.
    * Images are padded with zeros, the mean color, at the bottom and right to a multiple of 16;
      grids are read from the maps.
    * Of masked images the hidden patches are filled with zeros and the network runs on visible
      cells (:class:`saip.models.ops.visible_cells.VisibleCells`). Final patch tokens are then
      those of the kept patches as well: the last map, resampled to the grid of stride 16.
    * In distributed training every BatchNorm is a synchronized one.

    Args:
        img_size: (height, width) that the encoder is trained at; any other size works.
        feature_level: stride of the stage that feeds the dense objectives, 16; None takes the
            last map, resampled to the grid of stride 16.
        out_strides: strides of the maps that :meth:`forward` returns.
        out_type: what :meth:`forward` returns. ``featmap`` freezes the parameters that the maps
            do not pass through: weight decay would move them, and distributed training may refuse
            them.
        masking: ``visible_cells``, or ``fill`` for a plain pass over the filled image.
        init_cfg: None, or ``dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.
        unknown: options of the caller that the subclass does not have, to be refused.

    Raises:
        InputError: an option is unknown or has an unknown value, or the network has no stage of
            stride 16.
    """

    patch_stride = PATCH
    has_relations = False
    attention_is = 'similarity to the image token'

    def __init__(
        self,
        img_size: tuple[int, int],
        feature_level: int | None,
        out_strides: Sequence[int],
        out_type: OutType,
        masking: Masking,
        init_cfg: dict[str, Any] | None,
        unknown: Mapping[str, Any],
    ) -> None:
        super().__init__(init_cfg)
        name = type(self).__name__
        if 'output_stride' in unknown:
            raise InputError(f'{name} has no option output_stride, which saip.TimmEncoder has')
        if unknown:
            raise InputError(
                f'{name} has no option {", ".join(unknown)}. feature_level as a block, pos_interp '
                'and pos_init belong to saip.ViTEncoder: preset saip-official (its objective '
                '`relation`) needs a ViT; take preset saip or saip-paper'
            )
        if feature_level not in (PATCH, None):
            raise InputError(
                f'{name} feature_level={feature_level}: choose {PATCH}, the stride of a stage, '
                'or None for the last map'
            )
        if out_type not in ('featmap', 'image_token'):
            raise InputError(f"{name} out_type={out_type!r}: choose 'featmap' or 'image_token'")
        if masking not in ('visible_cells', 'fill'):
            raise InputError(f"{name} masking={masking!r}: choose 'visible_cells' or 'fill'")
        height, width = img_size
        self.img_size = (int(height), int(width))
        self.feature_level = feature_level
        self.out_strides = tuple(out_strides)
        self.out_type = out_type
        self.masking = masking

    def _finish(
        self,
        map_channels: dict[int, int],
        embed_dims: int,
        controller: dict[str, Any] | None = None,
    ) -> None:
        """Check the network that a subclass has just made, and prepare it for its use."""
        self.controller = self._build_controller(controller)
        if PATCH not in map_channels:
            raise InputError(
                f'{type(self).__name__} needs a stage of stride {PATCH}; '
                f'the strides of {self._title()} are {", ".join(map(str, map_channels))}'
            )
        self.channels_last = not _reads_pixels_apart(self._network())
        self.map_channels = map_channels
        self.embed_dims = embed_dims
        self.last_stride = max(map_channels)
        self.patch_dims = map_channels[self.last_stride]
        self._set_dense_level()
        check_strides(self, self.out_strides)
        if get_world_size() > 1:
            synchronize_batch_norm(self._network())
        if self.out_type == 'featmap':
            freeze_unread(self, self.forward)

    def _set_dense_level(self) -> None:
        self.dense_is_final = self.feature_level is None
        self.dense_dims = self.map_channels[self.feature_level or self.last_stride]

    @abstractmethod
    def _title(self) -> str:
        """Name of the network for messages."""

    @abstractmethod
    def _network(self) -> nn.Module:
        """The wrapped network."""

    @abstractmethod
    def _create(self) -> nn.Module:
        """Return a new network like the wrapped one, with random weights."""

    @abstractmethod
    def _run(self, images: Tensor, strides: Sequence[int]) -> dict[int, Tensor]:
        """Maps at (some of) the encoder's strides, by stride; the last after the final norm."""

    @abstractmethod
    def _pool(self, last: Tensor) -> Tensor:
        """Last map (B, C, h, w) -> image token (B, D)."""

    def reset_parameters(self) -> None:
        """Take the weights of a new network, whose initialization is its library's."""
        self._network().load_state_dict(self._create().state_dict(), strict=True)
        if self.controller is not None:
            self.controller.reset_parameters()

    def resample_pos_embed(
        self, state_dict: dict[str, Tensor], source: Grid
    ) -> dict[str, Tensor]:
        """Return ``state_dict``: no position embedding belongs to a grid here."""
        return state_dict

    def read_dense_from_last_block(self) -> None:
        """Take the dense features from the last map, and freeze what only the token reads."""
        self.feature_level = None
        self._set_dense_level()
        freeze_unread(self, self._last_map)

    def _last_map(self, images: Tensor) -> list[Tensor]:
        with self._modulation(None, images):
            return list(self._run(images, [self.last_stride]).values())

    def encode_requests(self, requests: list[EncodeRequest]) -> list[ViewFeatures]:
        """Encode several batches one after the other; each stops at the stage it is read from.

        BatchNorm in training mode normalizes every request by its own statistics.
        """
        self._check_conditions(requests)
        features = []
        with several_passes(self._network(), len(requests)) as begin:
            for number, request in enumerate(requests):
                begin(number)
                features.append(self._encode(request))
        return features

    def _encode(self, request: EncodeRequest) -> ViewFeatures:
        outputs, keep = request.outputs, request.keep
        if outputs.relations:
            raise InputError(f'{type(self).__name__} has no attention over all tokens')
        images = self._pad(request.images)
        grid = (images.shape[-2] // PATCH, images.shape[-1] // PATCH)
        strides = []
        if outputs.dense:
            strides.append(self.feature_level or self.last_stride)
        if outputs.image_token or outputs.patch_tokens:
            strides.append(self.last_stride)
        cells = None if keep is None else VisibleCells(keep, grid)
        if cells is not None:
            images = images.masked_fill(~cells.mask(images.shape[-2:]), 0)
        on_cells = cells is not None and self.masking == 'visible_cells'
        # The controller first: its hooks then see visible cells only, as folded norms do.
        # The image token is pooled inside: a network's pooling may hold layers of its own.
        with (
            self._modulation(request.condition, images),
            cells.applied_to(self._network()) if cells and on_cells else nullcontext(),
        ):
            maps = self._run(images, strides)
            token = self._pool(maps[self.last_stride]) if outputs.image_token else None
        final = dense = None
        if outputs.image_token or outputs.patch_tokens:
            last = maps[self.last_stride]
            at = (last.shape[-2], last.shape[-1]) if keep is None else grid
            final = EncoderOutput(
                token, _tokens(last, at, keep) if outputs.patch_tokens else None, at
            )
        if outputs.dense:
            tokens = _tokens(maps[strides[0]], grid, keep)
            dense = EncoderOutput(tokens.mean(1), tokens, grid)
        return ViewFeatures(final, dense)

    def _modulation(
        self, condition: Tensor | None, images: Tensor
    ) -> AbstractContextManager[None]:
        """Let the controller, if there is one, act on the network inside the context."""
        if self.controller is None:
            return nullcontext()
        return self.controller.applied_to(self, condition, images)

    def _pad(self, images: Tensor) -> Tensor:
        """Pad (B, 3, h, w) with zeros at the bottom and right to a multiple of the patch.

        In memory the channels come last, which convolutions keep from map to map: a step of
        StarNet takes two thirds of the time on a CPU. Not where pixels are read apart: oneDNN's
        gradient of such a layer then writes beyond its memory (torch 2.13).
        """
        down, right = (-side % PATCH for side in images.shape[-2:])
        if down or right:
            images = F.pad(images, (0, right, 0, down))
        last = torch.channels_last if self.channels_last else torch.contiguous_format
        return images.contiguous(memory_format=last)

    def feature_maps(self, images: Tensor, strides: Sequence[int]) -> list[Tensor]:
        """Feature maps (B, C, h, w) at these strides; the last is the one of :meth:`encode`."""
        check_strides(self, strides)
        with self._modulation(None, images):
            maps = self._run(self._pad(images), strides)
        return [maps[stride].contiguous() for stride in strides]

    def encode_with_maps(
        self, images: Tensor, strides: Sequence[int]
    ) -> tuple[EncoderOutput, list[Tensor]]:
        """What :meth:`encode` and :meth:`feature_maps` return, from one pass."""
        check_strides(self, strides)
        with self._modulation(None, images):
            maps = self._run(self._pad(images), sorted({*strides, self.last_stride}))
            last = maps[self.last_stride]
            token = self._pool(last)
        grid = (last.shape[-2], last.shape[-1])
        output = EncoderOutput(token, _tokens(last, grid, None), grid)
        return output, [maps[stride].contiguous() for stride in strides]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, h, w) -> the maps at ``out_strides``, or one image token (B, D)."""
        if self.out_type == 'featmap':
            return tuple(self.feature_maps(images, self.out_strides))
        request = EncodeRequest(images, Outputs(image_token=True))
        return (self._encode(request).require_final().require_image_token(),)

    def attention_map(self, images: Tensor) -> Tensor:
        """Cosine similarity of the patch tokens to the image token, (B, 1, h, w).

        Negative values count as 0, the rest sums to 1. Where the image token has another width
        than the patch tokens, their mean stands for it.

        Args:
            images: (B, 3, h, w), normalized.
        """
        output = self.encode(images)
        tokens = output.require_patch_tokens()
        token = output.require_image_token()
        if self.embed_dims != self.patch_dims:
            token = tokens.mean(1)
        alike = F.cosine_similarity(tokens, token[:, None], dim=-1).clamp(min=0)
        share = alike / alike.sum(1, keepdim=True).clamp(min=1e-6)
        return share[:, None].unflatten(-1, output.grid)

    def _describe(self) -> dict[str, Any]:
        """The entries of :meth:`architecture` that all subclasses have."""
        return {
            'img_size': list(self.img_size),
            'feature_level': self.feature_level,
            **self._describe_controller(),
            'grid': [-(-side // PATCH) for side in self.img_size],
        }


def _reads_pixels_apart(network: nn.Module) -> bool:
    """Whether a 1x1 convolution with a stride reads the image itself, as in FastViT."""
    return any(
        isinstance(layer, nn.Conv2d)
        and layer.in_channels == 3
        and tuple(layer.kernel_size) == (1, 1)
        and max(layer.stride) > 1
        for layer in network.modules()
    )


def _tokens(maps: Tensor, grid: Grid, keep: Tensor | None) -> Tensor:
    """(B, C, h', w') -> (B, L or K, C) on another grid: all, or the kept ones in their order."""
    if tuple(maps.shape[-2:]) != tuple(grid):
        maps = F.interpolate(maps, size=grid, mode='bilinear', align_corners=False)
    tokens = maps.flatten(2).transpose(1, 2)
    if keep is None:
        return tokens
    return tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))
