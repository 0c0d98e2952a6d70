"""A segmentor that learns from the average of its own earlier states."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.model import StochasticWeightAverage
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from saip.errors import InputError
from saip.models.ops.batch_norm import synchronize_batch_norm
from saip.registry import MODELS

from .affine import restore_labels
from .head import EMALogits
from .multi_scale import average_logits, check_scales, exchanged


@MODELS.register_module()
class SelfCorrectingSegmentor(EncoderDecoder):
    """SCHP's self-correction around a backbone and a :class:`CE2PHead` .

    At the end of each cycle, which :class:`SelfCorrectionHook` announces, the average of the
    weights takes in the current ones with weight 1 / (n + 1), n cycles having ended before: it is
    the plain mean over the ends of all cycles. From then on its outputs (evaluation mode, no
    gradient) correct the labels, whose weight in the targets is 1 / (n + 1) with the n cycles so
    far, and it is the average that predicts. The average and n are in the checkpoints.

    In distributed training every BatchNorm of the head is a synchronized one, as the encoder's are.

    Args:
        backbone: configuration, for example of ``saip.FeaturePyramid``.
        decode_head: configuration of the head.
        data_preprocessor: configuration.
        test_cfg: ``dict(mode='whole')``. With ``scales`` a test, but no validation, predicts a
            second time, ``pred_multi_scale``, from the mean of the logits at these scales, and
            with ``flip_pairs``, the classes of left and right, of the mirror images as well.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        decode_head: dict[str, Any],
        data_preprocessor: dict[str, Any],
        test_cfg: dict[str, Any],
    ) -> None:
        super().__init__(
            backbone, decode_head, data_preprocessor=data_preprocessor, test_cfg=test_cfg
        )
        scales = self.test_cfg.get('scales')
        self.scales = None if scales is None else check_scales(scales)
        self.flip_pairs = self.test_cfg.get('flip_pairs')
        if self.flip_pairs:
            exchanged(self.decode_head.num_classes, self.flip_pairs)  # refuses a wrong pair now
        if get_world_size() > 1:
            synchronize_batch_norm(self.decode_head)
        # No BaseModule, so that it is not initialized: the first cycle's end writes all of it.
        self.averaged = StochasticWeightAverage(self._network())
        self.cycles = 0
        """Number of cycles that have ended: ``averaged.steps``, which lies on the device, where
        every step would have to wait for it."""

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        steps = state_dict.get(f'{prefix}averaged.steps')
        if steps is not None:
            self.cycles = int(steps)

    def _network(self) -> nn.Module:
        """Backbone and head, one after the other: images -> ParsingLogits."""
        return nn.Sequential(OrderedDict(backbone=self.backbone, decode_head=self.decode_head))

    def train(self, mode: bool = True) -> SelfCorrectingSegmentor:
        """Set the mode; the average stays in evaluation mode."""
        super().train(mode)
        self.averaged.eval()
        return self

    def end_cycle(self, batches: Iterable[dict[str, Any]]) -> None:
        """Take the current weights into the average and estimate its BatchNorm statistics anew.

        Args:
            batches: the training data, as its loader gives them; gone through once, in all
                processes together.
        """
        self.averaged.update_parameters(self._network())
        self.cycles += 1
        images = (self.data_preprocessor(batch, training=True)['inputs'] for batch in batches)
        update_bn(images, self.averaged)

    def loss(self, inputs: Tensor, data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Return the head's losses, with corrected labels after the first cycle."""
        logits = self.decode_head(self.extract_feat(inputs))
        return self.decode_head.loss_by_feat(logits, data_samples, self._ema_logits(inputs))

    @torch.no_grad()
    def _ema_logits(self, inputs: Tensor) -> EMALogits | None:
        if self.cycles == 0:
            return None
        logits = self.averaged(inputs)
        return EMALogits(logits.fused, logits.edges, 1 / (self.cycles + 1))

    def inference(self, inputs: Tensor, batch_img_metas: Sequence[dict]) -> Tensor:
        """(B, 3, H, W) -> (B, C, H, W) logits, the images whole.

        The parent warns of every batch of images of different sizes, since it enlarges all to
        the size of the first; here each goes back to its own, in :meth:`postprocess_result`.
        """
        return self.encode_decode(inputs, batch_img_metas)

    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[dict]) -> Tensor:
        """(B, 3, H, W) -> (B, C, H, W) logits of the average, once there is one."""
        network = self.averaged if self.cycles else self._network()
        return self.decode_head.predict_by_feat(network(inputs), batch_img_metas)

    def test_step(self, data: dict[str, Any]) -> Sequence[Any]:
        """Predict a batch, at several scales as well if ``test_cfg`` asks for it."""
        data = self.data_preprocessor(data, False)
        samples = self._run_forward(data, mode='predict')
        if self.scales is None:
            return samples
        logits = average_logits(
            self._predict_fused, data['inputs'], self.scales, self.flip_pairs
        )
        return self._restore(logits, samples, 'pred_multi_scale')

    def _predict_fused(self, images: Tensor) -> Tensor:
        """(B, 3, h, w) -> logits at the size of the finest map."""
        network = self.averaged if self.cycles else self._network()
        return network(images).fused

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: Sequence[Any] | None = None
    ) -> Sequence[Any]:
        """Write ``pred_sem_seg``, (1, h, w) of the image before it was fitted into the crop.

        The labels go back, not the logits, each pixel to its nearest, as SCHP does it.

        Raises:
            ValueError: the samples do not say how the image was fitted.
        """
        if data_samples is None:
            return super().postprocess_result(seg_logits, None)
        return self._restore(seg_logits, data_samples, 'pred_sem_seg')

    def _restore(
        self, seg_logits: Tensor, data_samples: Sequence[Any], name: str
    ) -> Sequence[Any]:
        """Write the labels of (B, C, H, W) logits, brought back to the image, under a name."""
        for logits, sample in zip(seg_logits, data_samples, strict=True):
            if 'affine' not in sample.metainfo:
                raise InputError(
                    'SelfCorrectingSegmentor: the samples hold no matrix to bring predictions back '
                    'to the image; the pipeline needs saip.PersonAffine, and PackSegInputs '
                    "'affine' among its meta_keys"
                )
            matrix, size = sample.metainfo['affine'], sample.metainfo['ori_shape']
            labels = restore_labels(logits.argmax(0), matrix, tuple(size[:2]))
            sample.set_data({name: PixelData(data=labels[None])})
        return data_samples
