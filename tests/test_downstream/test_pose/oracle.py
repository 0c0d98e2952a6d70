"""Answers in place of a network: heatmaps of the annotations, as they are or displaced."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmpose.models import TopdownPoseEstimator
from mmpose.models.heads import HeatmapHead

from saip.engine import launch

from .small import path, points, short

Displace = Callable[[torch.Tensor], torch.Tensor]


def evaluate(
    task: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    displace: Displace = lambda heatmaps: heatmaps,
    show_dir: Path | None = None,
    launcher: str = 'none',
    **options: Any,
) -> dict[str, float]:
    """Test a configuration, with annotated boxes, on heatmaps that its own codec has made.

    The crop, the codec and the way back into the image are the configuration's; results are
    left in ``folder/results.keypoints.json``.
    """

    def predict(head: Any, feats: Any, samples: list, test_cfg: Any) -> Any:
        heatmaps = torch.stack([sample.gt_fields.heatmaps for sample in samples])
        # Of an empty map, which no network makes, the codec finds no maximum.
        return head.decode(displace(heatmaps).clamp(min=1e-4))

    monkeypatch.setattr(TopdownPoseEstimator, 'extract_feat', lambda model, inputs: inputs)
    monkeypatch.setattr(HeatmapHead, 'predict', predict)
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    cfg = launch.read_config(path(task))
    *steps, pack = cfg.test_dataloader.dataset.pipeline
    target = dict(type='GenerateTarget', encoder=dict(cfg.model.head.decoder))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = ROOT_MODELS.build(cfg.model)
    checkpoint = folder / 'any.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, checkpoint)
    everything = short(folder) | {
        'test_dataloader.dataset.pipeline': [*steps, target, pack],
        'test_dataloader.dataset.bbox_file': None,
        'test_evaluator.outfile_prefix': str(folder / 'results'),
    }
    return launch.evaluate(
        path(task),
        str(checkpoint),
        options=everything | options,
        launcher=launcher,
        show_dir=None if show_dir is None else str(show_dir),
    )


def shifted(heatmaps: torch.Tensor) -> torch.Tensor:
    """Move all maps (B, K, h, w) of a sample by up to two cells, in another way for each.

    Where its first landmark is decides on the way, whatever else is in the batch.
    """
    moves = [(m[0].argmax() % 25).item() for m in heatmaps]
    return torch.stack(
        [
            m.roll((by // 5 - 2, by % 5 - 2), (1, 2))
            for m, by in zip(heatmaps, moves, strict=True)
        ]
    )


def coco_scores(
    annotations: Path, results: Path, landmarks: int, sigmas: np.ndarray | None
) -> tuple[float, float]:
    """(AP, AR) by pycocotools; landmarks of the whole body as if they were one list."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = json.loads(annotations.read_text())
    for row in truth.dataset['annotations']:
        row['keypoints'] = points(row, landmarks).flatten().tolist()
        row['num_keypoints'] = sum(v > 0 for v in row['keypoints'][2::3])
    truth.createIndex()
    rows = json.loads(results.read_text())
    found = [
        dict(
            image_id=row['image_id'],
            category_id=row['category_id'],
            keypoints=points(row, landmarks).flatten().tolist(),
            score=row['score'],
        )
        for row in rows
    ]
    judge = COCOeval(truth, truth.loadRes(found), 'keypoints')
    if sigmas is not None:
        judge.params.kpt_oks_sigmas = sigmas
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return float(judge.stats[0]), float(judge.stats[5])
