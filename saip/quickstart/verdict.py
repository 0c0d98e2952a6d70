"""Whether a quickstart's network has learned, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BASELINES = ('color histogram', 'coarse pixels')


@dataclass(frozen=True)
class Verdict:
    """The result of a quickstart.

    Attributes:
        learned: whether the trained network beats the untrained one by as much as expected.
        text: one sentence with the figures.
    """

    learned: bool
    text: str


def judge(result: dict[str, Any], factor: float) -> Verdict:
    """Compare the trained network with the untrained one and with the baselines.

    Args:
        result: of :func:`saip.experiments.frozen_eval.evaluate_frozen`.
        factor: how many times the untrained network's mAP is expected on synthetic persons; 1
            stands for more.
    """
    if result['protocol'] == 'retrieval':
        return _judge_retrieval(result['rows'], factor)
    return _judge_two_view(result['rows'], result['chance'])


def _judge_retrieval(rows: dict[str, Any], factor: float) -> Verdict:
    before, after = rows['random weights']['mAP'], rows['student']['mAP']
    learned = after > before and after >= factor * before
    times = after / max(before, 1e-9)
    expected = f'at least {factor:g} expected' if factor > 1 else 'more than 1 expected'
    said = 'It learned' if learned else 'It did NOT learn as expected'
    return Verdict(
        learned,
        f'{said}: mAP {after:.1f} % trained, {before:.1f} % untrained ({times:.1f} times, '
        f'{expected}){_baselines(rows, "mAP")}.',
    )


def _judge_two_view(rows: dict[str, Any], chance: float) -> Verdict:
    before, after = rows['random weights']['recall@1'], rows['student']['recall@1']
    learned = after > before
    said = 'It learned' if learned else 'It did NOT learn'
    return Verdict(
        learned,
        f'{said}: the other view of a held-out image is found first in {after:.1f} % of the '
        f'cases trained, {before:.1f} % untrained{_baselines(rows, "recall@1")}, '
        f'{chance:.1f} % by chance.',
    )


def _baselines(rows: dict[str, Any], metric: str) -> str:
    found = [f'{rows[name][metric]:.1f} % {name}' for name in BASELINES if name in rows]
    return ''.join(f', {text}' for text in found)
