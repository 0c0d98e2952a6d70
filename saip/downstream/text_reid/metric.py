"""How well captions find images of the person that they describe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric

from saip.downstream.text_reid.ranked import CELL, rank_captions
from saip.evaluation.cmc import score_queries
from saip.evaluation.features import normalize
from saip.registry import METRICS
from saip.visualization.retrieval import draw_ranked_lists

RANKED_LISTS = 'ranked_captions.png'


@METRICS.register_module()
class TextReIDMetric(BaseMetric):
    """Rank-k, mAP and mINP of a search for images by captions, in percent.

    Every caption ranks all images by the cosine of the features; an image is right if it shows the
    person that the caption was written about. No image is left out: there is no rule about cameras.
    The inverse negative penalty of a caption is the number of right images over the rank of the
    last one. Similarities are held for some captions at a time.

    Reads predictions with ``feature`` (E,), ``caption_features`` (captions, E), ``captions``,
    ``pid`` and ``img_path``.

    Args:
        ranks: the ranks k of ``Rank-k``.
        show_dir: folder for an image of some captions and what was found for them; None draws
            none.
        collect_device: how results of several processes meet. 'gpu' goes through the process
            group (of any backend, gloo too); 'cpu' through files on a disk that all share.
        prefix: before the slash in the names of the results.
    """

    default_prefix = 'text_reid'

    def __init__(
        self,
        ranks: Sequence[int] = (1, 5, 10),
        show_dir: str | None = None,
        collect_device: str = 'gpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ranks = tuple(ranks)
        self.show_dir = show_dir

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep features of a batch, one result per image in order."""
        # One copy per batch: a copy per image would wait for the device each time.
        images = torch.stack([sample['feature'] for sample in data_samples]).cpu().numpy()
        texts = torch.cat([sample['caption_features'] for sample in data_samples]).cpu().numpy()
        ends = np.cumsum([len(sample['captions']) for sample in data_samples])
        rows = np.split(texts, ends[:-1])
        for sample, image, own in zip(data_samples, images, rows, strict=True):
            kept = {key: sample[key] for key in ('captions', 'img_path')}
            self.results.append(
                {'image': image, 'texts': own, 'pid': int(sample['pid']), **kept}
            )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Score all captions."""
        device = get_device()
        images = torch.from_numpy(np.stack([r['image'] for r in results])).to(device)
        texts = torch.from_numpy(np.concatenate([r['texts'] for r in results])).to(device)
        images, texts = normalize(images, 'features'), normalize(texts, 'caption features')
        pids = np.array([r['pid'] for r in results])
        text_pids = pids.repeat([len(r['captions']) for r in results])
        # The rule of cameras leaves nothing out where no camera of a caption is one of an image.
        cameras = np.zeros_like(text_pids), np.ones_like(pids)
        scores = score_queries(texts, images, text_pids, pids, *cameras)
        found = scores.summary(self.ranks)
        # Rank-1 first, the paper's figure: hooks with save_best='auto' follow the first metric.
        names = (*(f'Rank-{k}' for k in self.ranks), 'mAP')
        metrics = {name: found[name] for name in names}
        metrics['mINP'] = scores.mean_inverse_penalty()
        metrics['captions'] = len(text_pids)
        if self.show_dir is not None:
            folder = Path(self.show_dir)
            folder.mkdir(parents=True, exist_ok=True)
            captions = [caption for r in results for caption in r['captions']]
            paths = [r['img_path'] for r in results]
            lists = rank_captions(captions, texts, text_pids, images, pids, paths)
            sheet = draw_ranked_lists(lists, query_width=CELL[0])
            sheet.save(folder / RANKED_LISTS)
        return metrics
