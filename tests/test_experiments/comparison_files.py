"""A small comparison, and a training of milliseconds that stands in for the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from saip.checkpoint import describe_training
from saip.engine.launch import read_config
from saip.engine.options import parse_options
from saip.errors import StoppedError
from saip.experiments.compare.evaluation import Evaluated
from saip.experiments.compared_encoders import random_twin
from saip.experiments.finetune_job import environment
from saip.registry import MODELS
from saip.synthetic import SIZES, write_market1501
from saip.synthetic.formats.coco import write_coco
from saip.synthetic.formats.lip import write_lip


class FakeTraining:
    """Stands for ``run_training``: writes the checkpoint of an encoder that depends on the seed.

    Attributes:
        calls: (row, seed, epochs) of each training.
        break_at: number of the call that stops without a checkpoint.
        seconds_per_step: what the log of a measured training says.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.break_at = -1
        self.seconds_per_step = 0.5

    def __call__(
        self, command: Sequence[str], work_dir: Path, variables: dict[str, str], what: str
    ) -> None:
        """Train."""
        texts = command[command.index('--cfg-options') + 1 :]
        epochs, seed = (
            int(variables['SAIP_EPOCHS']),
            int(texts[0].removeprefix('randomness.seed=')),
        )
        assert texts[0].startswith('randomness.seed=')
        self.calls.append((what.removesuffix(': the training'), seed, epochs))
        if len(self.calls) - 1 == self.break_at:
            raise StoppedError(f'{what} stopped with status 1')
        with environment(variables):
            cfg = read_config(command[2], parse_options(texts))
        encoder = random_twin(MODELS.build({**cfg.model.backbone, 'img_size': (128, 64)}), seed)
        tensors = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
        tensors |= {f'expert.{key}': value + 0.01 for key, value in tensors.items()}
        meta = {**describe_training(cfg.to_dict(), encoder), 'epoch': epochs}
        work_dir.mkdir(parents=True, exist_ok=True)
        torch.save({'state_dict': tensors, 'meta': meta}, work_dir / f'epoch_{epochs}.pth')
        log = work_dir / '20260101/vis_data/scalars.json'
        log.parent.mkdir(parents=True, exist_ok=True)
        first = '{"loss": 1.0, "time": 9.0, "step": 1}\n{"two_view": 1.0, "step": 1}\n'
        rest = f'{{"loss": 1.0, "time": {self.seconds_per_step}, "step": 2}}\n'
        log.write_text(first + 5 * rest)


class FakeEvaluation:
    """Stands for ``evaluate_network``: figures that follow from the weights, without an image.

    Attributes:
        calls: number of networks.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, encoder, preprocessor, size, comparison, feature, **has: bool
    ) -> Evaluated:
        """Evaluate."""
        self.calls += 1
        tensors = [tensor.detach().double().sum() for tensor in encoder.parameters()]
        figure = float(sum(tensors, torch.tensor(0.0))) % 100
        names = ('Rank-1', 'mAP', 'two-view recall', 'effective rank', 'feature spread')
        sums = {'mAP': [[1, 1, 0.5], [1, 0, 0.25]], 'two-view recall': [[1, 0.5], [1, 1]]}
        return Evaluated(dict.fromkeys(names, figure), sums)


def small_sets(root: Path) -> dict[str, Path]:
    """Folders of people, parts and keypoints."""
    write_market1501(root / 'people', SIZES['tiny'])
    write_lip(root / 'lip')
    write_coco(root / 'coco')
    return {name: root / name for name in ('people', 'lip', 'coco')}
