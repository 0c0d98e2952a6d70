"""Any hierarchical network of timm as an encoder: StarNet, TinyViT, EdgeNeXt, ResNet ..."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.backbones.hierarchical import PATCH, HierarchicalEncoder, Masking, OutType
from saip.models.ops.controller import Stage
from saip.models.ops.output_stride import keep_stride
from saip.registry import MODELS

DOWN_SAMPLERS = ('stages.{}.downsample.conv3', 'stages.{}.0')
"""Last convolution of the down-sampler that begins a stage, in TinyViT and in StarNet."""


@MODELS.register_module()
class TimmEncoder(HierarchicalEncoder):
    """A plain timm network with the encoder contract; see :class:`HierarchicalEncoder`.

    The network lives in ``timm_model``, without its classifier, so that state-dict keys are
    ``timm_model.<key in timm>``, as in mmpretrain's ``TIMMBackbone``. timm's ``features_only``
    networks have other keys and are not used. Nothing is downloaded.

    Args:
        model: name in timm.
        img_size: (height, width) that the encoder is trained at; any other size works.
        feature_level: stride of the stage that feeds the dense objectives, 16; None takes the
            last map, resampled to the grid of stride 16.
        drop_path_rate: stochastic depth, growing to this rate in the last block.
        out_strides: strides of the maps that :meth:`forward` returns.
        out_type: ``featmap`` or ``image_token``; ``featmap`` freezes what no map depends on.
        masking: how masked images are encoded, see :class:`HierarchicalEncoder`.
        output_stride: 16 lets the last stage keep the stride of the one before, so that its map
            has four times as many cells, as the paper's authors fine-tune; weights are the same.
            None keeps the network as it is.
        controller: ``dict(condition=λ)`` for SOLIDER's semantic controller, see
            :class:`saip.models.ops.controller.SemanticController`; None for none. It acts on the
            BatchNorm that ends the down-sampler of every stage but the first.
        init_cfg: None, or ``dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.

    Raises:
        InputError: timm has no such model, its maps do not become coarser stage by stage, it
            has no stage of stride 16 or no stochastic depth, takes one input size only, or an
            option is unknown.
    """

    def __init__(
        self,
        model: str,
        img_size: tuple[int, int] = (256, 128),
        feature_level: int | None = 16,
        drop_path_rate: float = 0.0,
        out_strides: Sequence[int] = (32,),
        out_type: OutType = 'featmap',
        masking: Masking = 'visible_cells',
        output_stride: int | None = None,
        controller: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(
            img_size, feature_level, out_strides, out_type, masking, init_cfg, unknown
        )
        self.model = model
        self.drop_path_rate = drop_path_rate
        if output_stride not in (None, PATCH):
            raise InputError(
                f'output_stride={output_stride!r}: {PATCH}, or None for the network as it is'
            )
        self.output_stride = output_stride
        self.timm_model = self._create()
        stages = self.timm_model.feature_info
        self._strides = [int(stage['reduction']) for stage in stages]
        if not all(fine < coarse for fine, coarse in pairwise(self._strides)):
            raise InputError(
                f'timm model {model!r}: its maps do not become coarser stage by stage (strides '
                f'{", ".join(map(str, self._strides))}); for a plain ViT take saip.ViTEncoder'
            )
        channels = [int(stage['num_chs']) for stage in stages]
        # Some networks widen the last map after the stage that feature_info describes.
        channels[-1] = int(self.timm_model.num_features)
        self._try_out(channels)
        if output_stride is not None:
            keep_stride(self.timm_model, output_stride, self._title())
        self.stages = self._find_stages(channels)
        self._finish(
            dict(zip(self._strides, channels, strict=True)),
            int(self.timm_model.head_hidden_size),
            controller,
        )

    def _find_stages(self, channels: list[int]) -> tuple[Stage, ...]:
        """The norms that end the down-samplers; none if a stage begins otherwise."""
        modules = dict(self.timm_model.named_modules())
        found = []
        for i, width in enumerate(channels[1:], start=1):
            layers = [name.format(i) for name in DOWN_SAMPLERS]
            ends = [name for name in layers if name in modules and _is_conv_bn(modules[name])]
            if not ends:
                return ()
            found.append(Stage((f'timm_model.{ends[0]}.bn',), width))
        return tuple(found)

    def _try_out(self, channels: list[int]) -> None:
        """Encode an empty image that is neither square nor of the network's own size.

        Raises:
            InputError: the network takes one size only, or its maps are not (B, C, h, w).
        """
        self.timm_model.eval()
        image = torch.zeros(1, 3, 96, 64)
        try:
            with torch.no_grad():
                last, maps = self.timm_model.forward_intermediates(image)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise InputError(
                f'{self._title()} cannot encode an image of 96x64 pixels ({error}); networks '
                'for one input size are not supported'
            ) from error
        finally:
            self.timm_model.train()
        found = [x.shape[1] if x.ndim == 4 else None for x in [*maps[:-1], last]]
        if found != channels:
            raise InputError(
                f'{self._title()} returns maps with {found} channels in the second place instead '
                f'of {channels}; networks whose maps are not (B, C, h, w) are not supported'
            )

    def _title(self) -> str:
        return f'timm model {self.model!r}'

    def _network(self) -> nn.Module:
        return self.timm_model

    def _create(self) -> Any:
        if not timm.is_model(self.model):
            near = difflib.get_close_matches(self.model, timm.list_models(), n=5)
            hint = f'; near names: {", ".join(near)}' if near else ''
            raise InputError(
                f'timm {timm.__version__} has no model {self.model!r}{hint}. '
                'timm.list_models() gives all names'
            )
        plain: dict[str, Any] = {'pretrained': False, 'num_classes': 0}
        try:
            return timm.create_model(self.model, drop_path_rate=self.drop_path_rate, **plain)
        except TypeError as error:
            if 'drop_path_rate' not in str(error):
                raise
        if self.drop_path_rate:
            raise InputError(
                f'timm model {self.model!r} has no stochastic depth: '
                f'set drop_path_rate=0 (model.backbone) instead of {self.drop_path_rate}'
            )
        return timm.create_model(self.model, **plain)

    @property
    def map_strides(self) -> dict[int, int]:
        """Strides of the maps; with ``output_stride`` the last has that of the one before."""
        limit = self.output_stride or self.last_stride
        return {stride: min(stride, limit) for stride in self.map_channels}

    def _run(self, images: Tensor, strides: Sequence[int]) -> dict[int, Tensor]:
        """Maps by stride; a network that is not read to its end stops at the last stage."""
        stages = sorted({self._strides.index(stride) for stride in strides})
        if self.last_stride not in strides:
            maps = self.timm_model.forward_intermediates(
                images, indices=stages, stop_early=True, intermediates_only=True
            )
            return {self._strides[i]: x for i, x in zip(stages, maps, strict=True)}
        last, maps = self.timm_model.forward_intermediates(images, indices=stages)
        return {
            **{self._strides[i]: x for i, x in zip(stages, maps, strict=True)},
            self.last_stride: last,
        }

    def _pool(self, last: Tensor) -> Tensor:
        return self.timm_model.forward_head(last, pre_logits=True)

    def architecture(self) -> dict[str, Any]:
        """Plain values that build this encoder again, plus the grid of stride 16."""
        strided = {} if self.output_stride is None else {'output_stride': self.output_stride}
        return {'type': 'saip.TimmEncoder', 'model': self.model, **strided, **self._describe()}

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter by timm's own groups, which are blocks, and number of layers."""
        matcher = self.timm_model.group_matcher(coarse=False)
        depths = group_parameters(self.timm_model, matcher, reverse=True)
        layers = max(depths.values()) + 2
        prefix = f'{prefix}timm_model.'
        if not param_name.startswith(prefix):
            return layers - 1, layers
        return depths[param_name.removeprefix(prefix)], layers


def _is_conv_bn(module: nn.Module) -> bool:
    """Whether a module is a convolution and the BatchNorm after it."""
    return [name for name, _ in module.named_children()] == ['conv', 'bn']
