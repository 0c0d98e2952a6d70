"""CrowdHuman's metrics, which also know what nothing found is worth."""

from __future__ import annotations

from typing import Any

from mmdet.evaluation import CrowdHumanMetric

from saip.registry import METRICS


@METRICS.register_module()
class CrowdMetric(CrowdHumanMetric):
    """mmdet's ``CrowdHumanMetric``, where a detector that finds nothing misses everybody.

    mmdet has the mean of no miss rates there, which is not a number. Arguments are the parent's.
    """

    default_prefix = 'crowd_human'

    def eval_mr(self, score_list: list, gt_num: int, img_num: int) -> float:
        """Return the log-average miss rate.

        Args:
            score_list: detections that count, by descending score; those in regions to ignore
                are not among them.
            gt_num: people in all images.
            img_num: images.
        """
        if not score_list:
            return 1.0
        rate: Any = super().eval_mr(score_list, gt_num, img_num)
        return float(rate)
