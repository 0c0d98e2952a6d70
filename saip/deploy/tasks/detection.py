"""CrowdDet: two boxes per proposal from the graph, the paired suppression after it.

Legend: P proposals, h and w of the input, C channels of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saip.deploy.program import Output, Program, check_size, image_input
from saip.deploy.tasks.finetuned import Finetuned
from saip.structures import Grid

SIZE = (800, 1344)
"""(height, width) of the images unless another is asked for: the test's, in whole cells of 64."""


class PersonBoxes(nn.Module):
    """mmdet's CrowdDet up to the suppression, with operators that have an ONNX form.

    The region proposals pass their own suppression in the graph. Fewer than P are filled up with
    the first one, whose scores are then 0.

    Args:
        model: mmdet's ``CrowdDet``.
        size: (height, width) of the images.
    """

    priors: Tensor

    def __init__(self, model: Any, size: Grid) -> None:
        super().__init__()
        self.model = model
        self.size = size
        strides = model.rpn_head.prior_generator.strides
        grids = [(-(-size[0] // y), -(-size[1] // x)) for x, y in strides]
        priors = model.rpn_head.prior_generator.grid_priors(grids, device='cpu')
        self.counts = [len(level) for level in priors]
        self.register_buffer('priors', torch.cat(priors), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 3, h, w) -> boxes (1, P, 2, 4): x1, y1, x2, y2 in pixels; scores (1, P, 2)."""
        maps = self.model.extract_feat(images)
        proposals, valid = self._proposals(maps)
        head = self.model.roi_head.bbox_head
        answers = head(self._regions(maps, proposals))
        # With a refinement the second pair is the better one.
        logits, deltas = answers[2:] if head.with_refine else answers
        pairs = proposals.repeat_interleave(head.num_instance, dim=0)
        boxes = head.bbox_coder.decode(pairs, deltas.reshape(-1, 4), max_shape=self.size)
        scores = logits.reshape(-1, head.num_classes + 1).softmax(-1)[:, 1]
        scores = scores.reshape(-1, head.num_instance) * valid[:, None]
        return boxes.reshape(1, -1, head.num_instance, 4), scores[None]

    def _proposals(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Proposals (P, 4), the likeliest first, and 1 or 0 for those that fill up (P,)."""
        rpn = self.model.rpn_head
        cfg = rpn.test_cfg
        found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for number, (logits, deltas, priors) in enumerate(
            zip(*rpn(maps), self.priors.split(self.counts), strict=True)
        ):
            logits = logits[0].permute(1, 2, 0).reshape(-1, rpn.cls_out_channels)
            likely = logits.sigmoid() if rpn.use_sigmoid_cls else logits.softmax(-1)
            scores = likely[:, 0]
            deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
            scores, index = scores.topk(min(cfg.nms_pre, scores.shape[0]))
            level = torch.full_like(scores, number)
            found.append((scores, deltas[index], priors[index], level))
        scores, deltas, priors, levels = (
            torch.cat(parts) for parts in zip(*found, strict=True)
        )
        boxes = rpn.bbox_coder.decode(priors, deltas, max_shape=self.size)
        sides = boxes[:, 2:] - boxes[:, :2]
        large = (sides > cfg.get('min_bbox_size', -1)).all(1)
        scores = torch.where(large, scores, torch.full_like(scores, -1.0))
        kept = _nms(boxes, scores, levels, cfg.nms['iou_threshold'])
        most = min(cfg.max_per_img, scores.shape[0])
        chosen = torch.cat([kept, torch.zeros(most, dtype=kept.dtype)])[:most]
        first = torch.arange(most) < kept.shape[0]
        return boxes[chosen], (first & (scores[chosen] >= 0)).to(boxes.dtype)

    def _regions(self, maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """Features (P, C, side, side) of boxes, each from the map of its scale."""
        from torchvision.ops import roi_align

        extractor = self.model.roi_head.bbox_roi_extractor
        rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], 1)
        levels = extractor.map_roi_levels(rois, extractor.num_inputs)
        features = None
        for number, (layer, x) in enumerate(zip(extractor.roi_layers, maps, strict=False)):
            cut = roi_align(
                x,
                rois,
                layer.output_size,
                layer.spatial_scale,
                max(layer.sampling_ratio, 0) or -1,
                layer.aligned,
            )
            here = (levels == number)[:, None, None, None]
            features = cut if features is None else torch.where(here, cut, features)
        assert features is not None
        return features


def _nms(boxes: Tensor, scores: Tensor, levels: Tensor, threshold: float) -> Tensor:
    """Places of the boxes that no likelier one of their level overlaps, the likeliest first."""
    from torchvision.ops import nms

    apart = levels * (boxes.max() + 1)  # no box meets one of another level
    return nms(boxes + apart[:, None], scores, threshold)


def detection_program(tuned: Finetuned, size: Grid | None) -> list[Program]:
    """Make the program of a person detector, for one image at a time."""
    cell = tuned.config['model']['data_preprocessor'].get('pad_size_divisor', 64)
    checked = check_size(size or SIZE, cell)
    rcnn = tuned.config['model']['test_cfg']['rcnn']
    outputs = (
        Output('boxes', 'x1, y1, x2, y2 in pixels, two of each proposal', decoded=True),
        Output('scores', 'of each box', decoded=True),
    )
    about = {
        'classes': ['person'],
        'fit': 'the whole image at the top left, its proportions kept, mean color beside it',
        'suppression': {
            'score': rcnn['score_thr'],
            'overlap': rcnn['nms']['iou_threshold'],
            'most': rcnn['max_per_img'],
        },
    }
    network = tuned.from_pixels(PersonBoxes(tuned.model, checked))
    inputs = image_input(checked, 'bilinear')
    return [Program('detection', network, inputs, outputs, about, fixed_batch=True)]
