"""Any hierarchical backbone of an OpenMMLab library as an encoder: CSPNeXt ..."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.backbones.hierarchical import HierarchicalEncoder, Masking, OutType
from saip.models.ops.controller import Stage
from saip.registry import MODELS

PROBE = 256
"""Side in pixels of the image that shows a backbone's channels and strides."""


@MODELS.register_module()
class OpenMMLabEncoder(HierarchicalEncoder):
    """A backbone of another library with the encoder contract.

    The backbone lives in ``mm_model``, so that state-dict keys are ``mm_model.<stock key>``.
    Everything else is said in :class:`HierarchicalEncoder`; the image token is the mean over the
    last map. Such a backbone computes all its stages whatever is read of it.

    Args:
        model: configuration of the backbone, with ``out_indices`` that give the maps at
            ``strides``; without a scope before its type and without weights.
        libraries: libraries that have it, the first one installed is taken.
        strides: of the maps that it returns, in that order.
        img_size: (height, width) that the encoder is trained at; any other size works.
        feature_level: stride of the stage that feeds the dense objectives, 16; None takes the
            last map, resampled to the grid of stride 16.
        drop_path_rate: stochastic depth, for backbones that take such an argument.
        out_strides: strides of the maps that :meth:`forward` returns.
        out_type: ``featmap`` or ``image_token``; ``featmap`` freezes what no map depends on.
        masking: how masked images are encoded, see :class:`HierarchicalEncoder`.
        controller: ``dict(condition=λ)`` for SOLIDER's semantic controller, see
            :class:`saip.models.ops.controller.SemanticController`; None for none. Only Swin has
            stages for it: the projections that end its down-samplers, as in the release. They
            have no bias that could absorb a shift, so that the controller stays in exported files.
        init_cfg: None, or ``dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.

    Raises:
        ImportError: none of the libraries is installed.
        InputError: the backbone's maps have other strides, or an option is unknown or wrong.
    """

    def __init__(
        self,
        model: dict[str, Any],
        libraries: Sequence[str] = ('mmdet', 'mmpose'),
        strides: Sequence[int] = (4, 8, 16, 32),
        img_size: tuple[int, int] = (256, 128),
        feature_level: int | None = 16,
        drop_path_rate: float = 0.0,
        out_strides: Sequence[int] = (32,),
        out_type: OutType = 'featmap',
        masking: Masking = 'visible_cells',
        controller: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(
            img_size, feature_level, out_strides, out_type, masking, init_cfg, unknown
        )
        self.model = _plain(model)
        self.libraries = tuple(libraries)
        self.strides = tuple(strides)
        self.drop_path_rate = drop_path_rate
        self.mm_model = self._create()
        channels = self._probe()
        self.stages = self._find_stages()
        self._finish(channels, channels[max(channels)], controller)

    def _find_stages(self) -> tuple[Stage, ...]:
        """The linear layers that end the down-samplers of a Swin; none in other networks."""
        modules = dict(self.mm_model.named_modules())
        found = []
        for i in range(len(self.strides) - 1):
            layer = modules.get(f'stages.{i}.downsample.reduction')
            if not isinstance(layer, nn.Linear):
                return ()
            name = f'mm_model.stages.{i}.downsample.reduction'
            found.append(Stage((name,), layer.out_features, foldable=False))
        return tuple(found)

    def _title(self) -> str:
        return str(self.model['type'])

    def _network(self) -> nn.Module:
        return self.mm_model

    def _create(self) -> Any:
        library = _first_installed(self.libraries, self._title())
        cfg = {**self.model, 'type': f'{library}.{self._title()}'}
        if self.drop_path_rate:
            cfg['drop_path_rate'] = self.drop_path_rate
        try:
            return MODELS.build(cfg)
        except TypeError as error:
            if 'drop_path_rate' not in str(error):
                raise
            raise InputError(
                f'{self._title()} has no stochastic depth: set drop_path_rate=0 '
                f'(model.backbone) instead of {self.drop_path_rate}'
            ) from error

    def reset_parameters(self) -> None:
        """Take the weights of a new backbone that its library has initialized."""
        model = self._create()
        model.init_weights()
        self.mm_model.load_state_dict(model.state_dict(), strict=True)

    def _probe(self) -> dict[int, int]:
        """Channels by stride, from the maps of an empty image.

        Raises:
            InputError: they are not those of ``strides``.
        """
        self.mm_model.eval()
        like = next(self.mm_model.parameters())
        with torch.no_grad():
            maps = self.mm_model(like.new_zeros(1, 3, PROBE, PROBE))
        self.mm_model.train()
        found = [PROBE // x.shape[-1] for x in maps]
        if found != list(self.strides):
            raise InputError(
                f'{self._title()} returns maps at the strides {", ".join(map(str, found))} but '
                f'strides={self.strides}; set strides, or out_indices in model'
            )
        return {stride: x.shape[1] for stride, x in zip(self.strides, maps, strict=True)}

    def _run(self, images: Tensor, strides: Sequence[int]) -> dict[int, Tensor]:
        return dict(zip(self.strides, self.mm_model(images), strict=True))

    def _pool(self, last: Tensor) -> Tensor:
        return last.mean((2, 3))

    def architecture(self) -> dict[str, Any]:
        """Plain values that build this encoder again, plus the grid of stride 16."""
        return {
            'type': 'saip.OpenMMLabEncoder',
            'model': self.model,
            'libraries': list(self.libraries),
            'strides': list(self.strides),
            **self._describe(),
        }

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter, counted in the backbone's direct children, and their number."""
        children = [name for name, child in self.mm_model.named_children() if _learns(child)]
        layers = len(children) + 1
        prefix = f'{prefix}mm_model.'
        if not param_name.startswith(prefix):
            return layers - 1, layers
        return children.index(param_name.removeprefix(prefix).split('.')[0]), layers


def _plain(value: Any) -> Any:
    """Configuration as dicts and lists, which exported files may hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _learns(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _first_installed(libraries: Sequence[str], title: str) -> str:
    reasons = []
    for library in libraries:
        try:
            importlib.import_module(f'{library}.models')
        except (ImportError, AssertionError) as error:  # they assert the version of mmcv
            reasons.append(f'{library}: {error}')
        else:
            return library
    raise ImportError(
        f'{title} needs one of {", ".join(libraries)}, and none can be imported '
        f'({"; ".join(reasons)}); see the installation of the downstream libraries in README.md'
    )
