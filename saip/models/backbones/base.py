"""What SAIP asks of an encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from saip.checkpoint import WeightsError, load_pretrained
from saip.checkpoint.controller import DEFAULT_CONDITION
from saip.errors import InputError
from saip.models.ops.controller import SemanticController, Stage
from saip.registry import MODELS
from saip.structures import EncodeRequest, EncoderOutput, Grid, Outputs, ViewFeatures


class BaseEncoder(BaseModule):
    """An image encoder that can be pretrained with every objective.

    ``forward(images)`` is what other libraries call: a tuple of maps (B, C, h, w), or with
    ``out_type='image_token'`` a tuple of one (B, D) image token.

    Attributes:
        embed_dims: width of the image token.
        patch_dims: width of the patch tokens that :meth:`encode` returns.
        dense_dims: width of the tokens at the feature level.
        map_channels: channels of the feature maps that the encoder has by itself, by stride (of
            the stage as its network has it, see ``map_strides``).
        patch_stride: pixels per patch token at the feature level.
        img_size: (height, width) for which position embeddings are learned.
        dense_is_final: the feature level is the last block, after the final norm, so that the
            algorithm must not norm it again.
        has_relations: last-block token relations can be asked for.
        drops_tokens: hidden patches are left out of the sequence, so that nothing is computed for
            them and masked image modeling has its meaning; others fill them in.
        stages: layers whose outputs a condition may scale and shift, by stage, usually norms that
            absorb this in an export; empty where a controller is refused.
        attention_is: what :meth:`attention_map` shows, for titles of pictures.
        has_controller: whether conditions of requests are followed; without one they are
            refused.
    """

    embed_dims: int
    patch_dims: int
    dense_dims: int
    map_channels: dict[int, int]
    patch_stride: int
    img_size: tuple[int, int]
    dense_is_final: bool
    has_relations: bool
    attention_is: str = 'attention of the image token'
    drops_tokens: bool = False
    stages: tuple[Stage, ...] = ()
    has_controller: bool = False
    controller: SemanticController | None
    init_cfg: Any

    @property
    def map_strides(self) -> dict[int, int]:
        """Strides of the maps by their keys in ``map_channels``.

        They are the same unless the last stage keeps the stride of the one before (option
        ``output_stride`` of networks with stages).
        """
        return {stride: stride for stride in self.map_channels}

    def _build_controller(self, options: dict[str, Any] | None) -> SemanticController | None:
        """Build the controller that a constructor's option ``controller`` asks for.

        Args:
            options: ``dict(condition=λ)`` of images that come with none, by default 0.2; None
                for no controller.

        Raises:
            InputError: the encoder has no stages, the options are no dict, or one of them is
                unknown or out of its range.
        """
        if options is None:
            return None
        if not isinstance(options, Mapping):
            raise InputError(
                f'model.backbone.controller={options!r}: None, or a dict is needed; '
                'model.backbone.controller.condition=0.2 gives one'
            )
        name = type(self).__name__
        unknown = sorted(set(options) - {'condition'})
        if unknown:
            raise InputError(
                f'model.backbone.controller has no option {", ".join(unknown)}; it has condition'
            )
        if not self.stages:
            raise InputError(
                f'model.backbone.controller: {name} ({self._title()}) has no stages whose norms '
                'could absorb a controller, so that no backbone of it would be a stock one; take '
                'vit-tiny-p16, starnet-s3 or tinyvit-5m, or controller=None'
            )
        self.has_controller = True
        return SemanticController(self.stages, options.get('condition', DEFAULT_CONDITION))

    def _title(self) -> str:
        """Name of the network for messages."""
        return type(self).__name__

    def _describe_controller(self) -> dict[str, Any]:
        """The entry of :meth:`architecture` that an encoder with a controller has."""
        if self.controller is None:
            return {}
        return {'controller': {'condition': self.controller.condition}}

    def _check_conditions(self, requests: Sequence[EncodeRequest]) -> None:
        """Refuse conditions that nothing would follow.

        Raises:
            InputError: a request has a condition, but the encoder has no controller.
        """
        if not self.has_controller and any(r.condition is not None for r in requests):
            raise InputError(
                f'{type(self).__name__}: a view comes with a condition, but the encoder has no '
                'controller (model.backbone.controller)'
            )

    @abstractmethod
    def encode_requests(self, requests: list[EncodeRequest]) -> list[ViewFeatures]:
        """Encode several batches, each with what it needs; one answer per request."""

    def encode(self, images: Tensor, keep: Tensor | None = None) -> EncoderOutput:
        """Encode (B, 3, h, w) images to normed image and patch tokens of the last block.

        Args:
            images: (B, 3, h, w), normalized.
            keep: (B, K) raster indices of the visible patches of ``patch_stride`` pixels; None
                encodes all. The patch tokens are those of the kept patches, in this order.
        """
        request = EncodeRequest(images, Outputs(image_token=True, patch_tokens=True), keep)
        return self.encode_requests([request])[0].require_final()

    @abstractmethod
    def read_dense_from_last_block(self) -> None:
        """Take the dense features from the last block, after the final norm.

        For trainings in which nothing else reads the last block: what lies after the feature
        level would stay random. May change ``dense_dims``; parameters that the image token alone
        passes through are frozen.
        """

    @abstractmethod
    def feature_maps(self, images: Tensor, strides: Sequence[int]) -> list[Tensor]:
        """Feature maps (B, C, h, w) at these strides, C as ``map_channels`` says.

        The map of the last block is normed as :meth:`encode` returns it. Maps are contiguous:
        mmcv's RoIAlign reads memory in that order, whatever the strides say.

        Raises:
            InputError: the encoder has no map at one of the strides.
        """

    def encode_with_maps(
        self, images: Tensor, strides: Sequence[int]
    ) -> tuple[EncoderOutput, list[Tensor]]:
        """What :meth:`encode` and :meth:`feature_maps` return, where it can be from one pass."""
        return self.encode(images), self.feature_maps(images, strides)

    def block_maps(
        self, images: Tensor, shares: Sequence[Fraction], normed: bool = True
    ) -> list[Tensor]:
        """Maps (B, C, h, w) after some of its blocks.

        For encoders whose blocks are all alike; others have stages, see :meth:`feature_maps`.

        Args:
            images: (B, 3, h, w), normalized.
            shares: of the blocks, each rounded down to a whole number of them.
            normed: whether the map after all blocks passes the final norm; the others never do.

        Raises:
            InputError: the encoder has stages, or fewer blocks than shares.
        """
        raise InputError(
            f'{type(self).__name__} has stages in place of equal blocks: take saip.FeaturePyramid '
            'instead of saip.BlockPyramid or saip.TapPyramid'
        )

    @abstractmethod
    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter and number of layers, for learning rates that decay with depth.

        The protocol of mmpretrain's ``LearningRateDecayOptimWrapperConstructor``: 0 is the
        stem, the number of layers minus 1 what follows the encoder, such as a name without
        ``prefix``.
        """

    @abstractmethod
    def attention_map(self, images: Tensor) -> Tensor:
        """Where the image token looks: (B, heads, h, w), each head sums to at most 1."""

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Plain values that build this encoder again, plus ``grid``; kept in exported files."""

    @abstractmethod
    def resample_pos_embed(
        self, state_dict: dict[str, Tensor], source: Grid
    ) -> dict[str, Tensor]:
        """Return ``state_dict`` with position embeddings moved from ``source`` to this grid."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Initialize all weights at random."""

    def init_weights(self) -> None:
        """Initialize at random, or load ``init_cfg=dict(type='Pretrained', ...)`` strictly.

        mmengine's own loading is silent about missing and unmatched keys, so a Pretrained
        ``init_cfg`` is taken out of its sight and honoured here.

        Raises:
            WeightsError: a key or shape does not match, or the file is of another architecture.
        """
        cfg: Any = self.init_cfg
        if isinstance(cfg, list | tuple) and len(cfg) == 1:
            cfg = self.init_cfg = cfg[0]
        if isinstance(cfg, list | tuple) and any(c.get('type') == 'Pretrained' for c in cfg):
            raise WeightsError(
                'init_cfg: give one dict of type Pretrained, not a list with other initializers'
            )
        pretrained = isinstance(cfg, dict) and cfg.get('type') == 'Pretrained'
        if not pretrained:
            super().init_weights()
            self.reset_parameters()
            return
        self.init_cfg = None
        super().init_weights()
        self.init_cfg = cfg
        load_pretrained(self, cfg)


def check_strides(encoder: BaseEncoder, strides: Sequence[int]) -> None:
    """Compare wanted strides with those that the encoder has.

    Raises:
        InputError: it has no map at one of them.
    """
    missing = [stride for stride in strides if stride not in encoder.map_channels]
    if missing:
        own = [
            str(key) if key == stride else f'{key} (which keeps stride {stride})'
            for key, stride in encoder.map_strides.items()
        ]
        raise InputError(
            f'{type(encoder).__name__} has no feature map at stride '
            f'{", ".join(map(str, missing))}; it has {", ".join(own)}'
        )


InitCfg = dict[str, Any] | list[dict[str, Any]] | None
"""What mmengine's modules take to initialize themselves by."""


def refuse_weights(name: str, init_cfg: InitCfg) -> None:
    """Refuse pretrained weights for what surrounds an encoder.

    Raises:
        WeightsError: they are asked for.
    """
    entries = [init_cfg] if isinstance(init_cfg, dict) else init_cfg or []
    if any(entry.get('type') == 'Pretrained' for entry in entries):
        raise WeightsError(
            f'{name}: init_cfg of type Pretrained belongs one level deeper: '
            f"backbone=dict(type='{name}', encoder=dict(..., init_cfg=...))"
        )


def build_encoder(architecture: dict[str, Any]) -> BaseEncoder:
    """Build an encoder from what :meth:`BaseEncoder.architecture` returned."""
    cfg = {key: value for key, value in architecture.items() if key != 'grid'}
    return MODELS.build(cfg)
