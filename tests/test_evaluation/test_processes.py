"""Several processes report what one reports."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as torch_dist
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric
from torch.utils.data import DataLoader, Dataset

from saip.evaluation import KNNMetric, RetrievalMetric, TwoViewRecall
from tests.processes import in_processes

IMAGES = 31
METRICS = (RetrievalMetric, KNNMetric, TwoViewRecall)


class Predictions(Dataset):
    """What a network would predict for an odd number of images."""

    def __init__(self, two_view: bool) -> None:
        generator = torch.Generator().manual_seed(3)
        shape = (IMAGES, 2, 24) if two_view else (IMAGES, 24)
        centers = torch.randn(IMAGES, 1, 24, generator=generator)
        noise = torch.randn(shape, generator=generator)
        self.student = noise + centers if two_view else noise
        self.expert = torch.randn(shape, generator=generator)
        self.two_view = two_view

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> dict:
        features = {'student': self.student[index], 'expert': self.expert[index]}
        if self.two_view:
            return {**features, 'index': index}
        of_person = {'pid': index % 5, 'camid': index // 5 % 3, 'is_query': int(index % 3 == 0)}
        of_class = {'target': index % 5, 'is_test': int(index % 3 == 0)}
        return {**features, **of_person, **of_class, 'index': index}


def evaluate(kind: type[BaseMetric], collect_device: str, collect_dir: str | None) -> dict:
    metric = kind(collect_device=collect_device)
    metric.collect_dir = collect_dir
    dataset = Predictions(kind is TwoViewRecall)
    sampler = DefaultSampler(dataset, shuffle=False)
    for batch in DataLoader(dataset, batch_size=4, sampler=sampler, collate_fn=list):
        metric.process(None, batch)
    return metric.evaluate(len(dataset))


def worker(collect_device: str, folder: str) -> list[dict]:
    torch_dist.init_process_group('gloo')
    collect_dir = f'{folder}/parts' if collect_device == 'cpu' else None
    reports = [evaluate(kind, collect_device, collect_dir) for kind in METRICS]
    torch_dist.destroy_process_group()
    return reports


@pytest.mark.dist
@pytest.mark.parametrize(('world', 'collect_device'), [(2, 'cpu'), (3, 'gpu')])
def test_processes_equal_one(tmp_path, world, collect_device):
    alone = [evaluate(kind, 'gpu', None) for kind in METRICS]
    reports = in_processes(world, tmp_path, worker, collect_device, str(tmp_path))
    assert reports == [alone] * world
