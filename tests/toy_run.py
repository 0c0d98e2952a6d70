"""A training of milliseconds, for tests of everything around the model."""

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.utils.data import Dataset


@DATASETS.register_module()
class ToyPoints(Dataset):
    """Points of a known line; the last ``broken`` of them are not a number."""

    def __init__(self, length: int = 8, broken: int = 0) -> None:
        self.x = torch.linspace(-1, 1, length).reshape(-1, 1)
        self.x[len(self.x) - broken :] = float('nan')

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=self.x[index], data_samples=2 * self.x[index] + 1)


@DATASETS.register_module()
class WidePoints(ToyPoints):
    """Points of 20 MB, of which no container's shared memory holds many."""

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.zeros(5_000_000), data_samples=torch.zeros(1))


@MODELS.register_module()
class ToyLine(BaseModel):
    """Two loss terms and a diagnostic."""

    def __init__(self, width: int = 1, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.layer = nn.Linear(1, width)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.layer(inputs)
        if mode != 'loss':
            return [{'prediction': float(row[0])} for row in out]
        error = out.float() - data_samples
        return dict(
            loss_square=error.square().mean(),
            loss_abs=error.abs().mean(),
            entropy=error.detach().abs().max(),
        )


@MODELS.register_module()
class NormedLine(ToyLine):
    """The same with a BatchNorm of one vector per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))


@METRICS.register_module()
class ToyScore(BaseMetric):
    """A score that follows a given list, one value per validation."""

    scores: list = []

    def process(self, data_batch, data_samples) -> None:
        self.results.extend(data_samples)

    def compute_metrics(self, results) -> dict:
        return dict(
            score=type(self).scores.pop(0) if type(self).scores else float(len(results))
        )


def config(work_dir: str) -> dict:
    loader = dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='mmengine.ToyPoints'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    return dict(
        default_scope='mmengine',
        custom_imports=dict(
            imports=['tests.toy_run', 'saip.engine'], allow_failed_imports=False
        ),
        model=dict(type='mmengine.ToyLine'),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        val_dataloader=loader,
        val_cfg={},
        val_evaluator=dict(type='mmengine.ToyScore'),
        test_dataloader=loader,
        test_cfg={},
        test_evaluator=dict(type='mmengine.ToyScore'),
        auto_scale_lr=dict(base_batch_size=8, enable=False),
        default_hooks=dict(
            runtime_info=dict(type='saip.AsyncRuntimeInfoHook'),
            logger=dict(type='LoggerHook', interval=2),
            checkpoint=dict(type='saip.AtomicCheckpointHook', interval=1, max_keep_ckpts=2),
        ),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        env_cfg=dict(mp_cfg=dict(mp_start_method='fork')),
        randomness=dict(seed=0),
        work_dir=work_dir,
    )


def watch_rates(monkeypatch) -> list[float]:
    """The learning rate of every optimizer step from now on."""
    seen: list[float] = []
    step = torch.optim.SGD.step

    def watched(self, *args, **kwargs):
        if self.param_groups[0]['params'][0].grad is not None:  # not the stand-in of the checks
            seen.append(self.param_groups[0]['lr'])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, 'step', watched)
    return seen
