"""The second stage of Parsing R-CNN: boxes of people, and the parts inside them."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor

from saip.errors import InputError
from saip.registry import MODELS

from .crops import crop_prediction, crop_targets


@MODELS.register_module()
class ParsingRoIHead(StandardRoIHead):
    """mmdetection's ``StandardRoIHead`` whose mask branch predicts the labels of parts.

    The branch learns from boxes that overlap a person, whose ``gt_instances.masks`` hold labels
    as :class:`saip.LoadParsing` loads them. Predictions are ``parsings``, a
    :class:`~saip.downstream.human_parsing.crops.PartCrop` in numpy per box.

    Args:
        max_parsed: at most as many boxes of an image learn parts, drawn at random.
        **kwargs: options of the parent; ``mask_head`` is a :class:`saip.GCEHead`.

    Raises:
        InputError: ``max_parsed`` is below 1.
    """

    def __init__(self, max_parsed: int = 16, **kwargs: Any) -> None:
        if max_parsed < 1:
            raise InputError(f'saip.ParsingRoIHead: max_parsed={max_parsed}; at least 1')
        super().__init__(**kwargs)
        self.max_parsed = max_parsed

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: list[InstanceData],
    ) -> dict[str, Any]:
        """Return ``loss_mask``, a dict with ``loss_parsing``.

        Args:
            x: maps of the images.
            sampling_results: boxes of each image and whom they belong to.
            bbox_feats: not used.
            batch_gt_instances: people of each image.
        """
        boxes, people = [], []
        for result in sampling_results:
            order = torch.randperm(len(result.pos_priors), device=result.pos_priors.device)
            chosen = order[: self.max_parsed]
            boxes.append(result.pos_priors[chosen])
            people.append(result.pos_assigned_gt_inds[chosen])
        rois = bbox2roi(boxes)
        if not len(rois):
            # Weights without a gradient are refused by DistributedDataParallel.
            nothing = self._logits(x, rois.new_zeros(1, 5)).sum() * 0
            return dict(loss_mask=dict(loss_parsing=nothing))
        logits = self._logits(x, rois)
        targets = [
            _targets(instances, image_boxes, owners, logits.shape[-1])
            for instances, image_boxes, owners in zip(
                batch_gt_instances, boxes, people, strict=True
            )
        ]
        loss = self.mask_head.loss(logits, torch.cat(targets))
        return dict(loss_mask=dict(loss_parsing=loss))

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict[str, Any]],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Add ``parsings`` to the boxes of each image.

        Args:
            x: maps of the images.
            batch_img_metas: their sizes and scales.
            results_list: boxes in pixels of the scaled images.
            rescale: change boxes to pixels of the original images, and give parsings there.
        """
        rois = bbox2roi([result.bboxes for result in results_list])
        maps = rois.new_zeros(0)
        if len(rois):
            maps = self._logits(x, rois).float().softmax(dim=1)
        split = maps.split([len(result) for result in results_list])
        for result, meta, own in zip(results_list, batch_img_metas, split, strict=True):
            size = meta['img_shape'][:2]
            if rescale:
                size = meta['ori_shape'][:2]
                result.bboxes = result.bboxes / result.bboxes.new_tensor(
                    meta['scale_factor']
                ).repeat(2)
            result.parsings = [
                crop_prediction(probabilities, tuple(box), size)
                for probabilities, box in zip(own, result.bboxes.tolist(), strict=True)
            ]
        return results_list

    def _logits(self, x: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        """Logits (R, parts, S, S) of boxes (R, 5), an image's number and corners."""
        return self._mask_forward(x, rois)['mask_preds']


def _targets(instances: InstanceData, boxes: Tensor, people: Tensor, side: int) -> Tensor:
    """Labels (R, S, S) of the boxes of an image."""
    maps = torch.from_numpy(instances.masks.masks).to(boxes.device)
    return crop_targets(maps, boxes, people, side)
