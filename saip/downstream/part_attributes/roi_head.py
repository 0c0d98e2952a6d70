"""The second stage of KE-RCNN: boxes, masks, and attributes of garments."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor

from saip.datasets.fashionpedia import CATEGORIES, HUMAN, NUM_ATTRIBUTES
from saip.errors import InputError
from saip.registry import MODELS

from .head import Regions, box_offsets
from .outlines import HUMAN_MARGIN, human_box


@MODELS.register_module()
class KERoIHead(StandardRoIHead):
    """mmdetection's ``StandardRoIHead`` with a third branch, which predicts attributes.

    The branch learns from boxes that overlap a garment; the wearer is the annotated object of the
    class human. In a test it goes over the final boxes; their wearer is the best-scored detected
    human, and where none is detected, the box around all detected garments, as annotated ones are
    made. ``pred_instances`` get ``attributes`` (N, 294) bool, none for the human.

    Args:
        attribute_head: a :class:`saip.KEHead`.
        human_roi_extractor: of the features of people.
        max_garments: at most as many boxes of an image learn attributes, drawn at random.
        attribute_score_thr: least probability of an attribute that is predicted.
        **kwargs: options of the parent; ``bbox_head`` has 47 classes.

    Raises:
        InputError: ``max_garments`` is below 1, or ``bbox_head`` has another number of classes.
    """

    def __init__(
        self,
        attribute_head: dict[str, Any],
        human_roi_extractor: dict[str, Any],
        max_garments: int = 32,
        attribute_score_thr: float = 0.3,
        **kwargs: Any,
    ) -> None:
        if max_garments < 1:
            raise InputError(f'saip.KERoIHead: max_garments={max_garments}; at least 1')
        super().__init__(**kwargs)
        if self.bbox_head.num_classes != HUMAN + 1:
            raise InputError(
                f'saip.KERoIHead: bbox_head.num_classes={self.bbox_head.num_classes}, not '
                f'{HUMAN + 1}: the categories of Fashionpedia, and the human'
            )
        self.max_garments = max_garments
        self.attribute_score_thr = attribute_score_thr
        self.attribute_head = MODELS.build(attribute_head)
        self.human_roi_extractor = MODELS.build(human_roi_extractor)

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: list[InstanceData],
    ) -> dict[str, Any]:
        """Return ``loss_mask``, a dict with ``loss_mask`` and ``loss_attributes``.

        Args:
            x: maps of the images.
            sampling_results: boxes of each image and whose they are.
            bbox_feats: not used.
            batch_gt_instances: garments of each image.
        """
        results = super().mask_loss(x, sampling_results, bbox_feats, batch_gt_instances)
        loss = self._attribute_loss(x, sampling_results, batch_gt_instances)
        results['loss_mask']['loss_attributes'] = loss
        return results

    def _attribute_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
    ) -> Tensor:
        boxes, humans, labels, targets = [], [], [], []
        for result, annotated in zip(sampling_results, batch_gt_instances, strict=True):
            wearer = annotated.bboxes[annotated.labels == HUMAN][:1]
            garments = (result.pos_gt_labels != HUMAN).nonzero()[:, 0]
            # Nobody wears what is in an image without a human, which the data set does not have.
            chosen = garments[torch.randperm(len(garments), device=garments.device)]
            chosen = chosen[: self.max_garments * len(wearer)]
            boxes.append(result.pos_priors[chosen])
            humans.append(wearer)
            labels.append(result.pos_gt_labels[chosen])
            targets.append(annotated.attributes[result.pos_assigned_gt_inds[chosen]])
        if not sum(map(len, boxes)):
            # Weights without a gradient are refused by DistributedDataParallel.
            anywhere = [boxes[0].new_zeros(1, 4)]
            logits = self._logits(x, anywhere, anywhere, labels[0].new_zeros(1))
            return logits.sum() * 0
        logits = self._logits(x, boxes, humans, torch.cat(labels))
        return self.attribute_head.loss(logits, torch.cat(targets))

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict[str, Any]],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Add ``attributes`` and ``masks`` to the boxes of each image.

        Args:
            x: maps of the images.
            batch_img_metas: their sizes and scales.
            results_list: boxes in pixels of the scaled images.
            rescale: change boxes to pixels of the original images, and give masks there.
        """
        boxes, humans, labels = [], [], []
        for result, meta in zip(results_list, batch_img_metas, strict=True):
            garments = result.labels != HUMAN
            boxes.append(result.bboxes[garments])
            humans.append(_wearer(result, garments, meta))
            labels.append(result.labels[garments])
            result.attributes = garments.new_zeros(len(result), NUM_ATTRIBUTES)
        if sum(map(len, boxes)):
            found = self._logits(x, boxes, humans, torch.cat(labels)).sigmoid()
            present = (found >= self.attribute_score_thr).split([len(own) for own in boxes])
            for result, own in zip(results_list, present, strict=True):
                result.attributes[result.labels != HUMAN] = own
        return super().predict_mask(x, batch_img_metas, results_list, rescale)

    def _logits(
        self, x: tuple[Tensor, ...], boxes: list[Tensor], humans: list[Tensor], labels: Tensor
    ) -> Tensor:
        """Logits (R, 294) of garments.

        Args:
            x: maps of the images.
            boxes: (R_i, 4) of each image.
            humans: (1, 4) of each image; (0, 4) where there is no box.
            labels: (R,) categories.
        """
        rois, people = bbox2roi(boxes), bbox2roi(humans)
        found = self._bbox_forward(x, rois)
        features = self.human_roi_extractor(x[: self.human_roi_extractor.num_inputs], people)
        # Boxes name their image, people are in the order of those images that have one.
        number = torch.searchsorted(people[:, 0].contiguous(), rois[:, 0].contiguous())
        regions = Regions(
            found['bbox_feats'],
            features[number],
            box_offsets(rois[:, 1:], people[number, 1:]),
            found['cls_score'].softmax(dim=1)[:, : len(CATEGORIES)],
            labels,
        )
        return self.attribute_head(regions, self.bbox_head.fc_cls.weight[: len(CATEGORIES)])


def _wearer(result: InstanceData, garments: Tensor, meta: dict[str, Any]) -> Tensor:
    """Box (1, 4) of the person of an image; (0, 4) if there is no garment, either."""
    people = result[~garments]
    if len(people):
        return people.bboxes[people.scores.argmax()][None]
    if not len(result):
        return result.bboxes.new_zeros(0, 4)
    height, width = meta['img_shape'][:2]
    margin = [HUMAN_MARGIN * factor for factor in meta['scale_factor']]
    return human_box(result.bboxes, (width, height), margin)[None]
