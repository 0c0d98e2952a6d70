"""CSM decoder with a frozen expert: image tokens to the expert's features."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.models.ops.blocks import NORM_EPS, bottleneck_mlp, init_linear
from saip.registry import MODELS


@MODELS.register_module()
class FeatureProjector(BaseModule):
    """Predicts the expert's image token from the student's.

    The three linear layers of the prototype projector, a linear layer to the expert's width, and
    a norm: the form of two heads that the method's first release defines and never uses.

    Args:
        in_channels: width of the student's image token.
        out_channels: width of the expert's.
        hidden_channels: width of the two hidden layers.
        bottleneck_channels: width before the last linear layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.mlp = bottleneck_mlp(in_channels, hidden_channels, bottleneck_channels)
        self.predict = nn.Linear(bottleneck_channels, out_channels)
        self.norm = nn.LayerNorm(out_channels, eps=NORM_EPS)
        self.apply(init_linear)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, in_channels) image tokens -> (n, out_channels)."""
        return self.norm(self.predict(self.mlp(tokens)))
