"""The frozen evaluation on small data sets whose answers are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from saip.datasets.progress import track
from saip.experiments.frozen_eval import evaluate_frozen
from saip.experiments.table import format_table
from saip.structures import EncoderOutput


class Identity(nn.Module):
    """Gives the pixels as the image token, and remembers that it was in training mode."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def encode(self, images):
        assert not self.training
        return EncoderOutput(self.scale * images.flatten(1), None, (1, 1))


class Preprocessor(nn.Module):
    """Stands in for ViewsPreprocessor: two views of a canvas, or the image itself."""

    def forward(self, data, training=False):
        assert not training
        if 'image' in data:
            return {'inputs': data['image'].float()}
        canvas = data['canvas'].float()
        return {'inputs': {'anchor': canvas, 'augmented': canvas.roll(1, dims=1)}}


def labeled(count=12):
    """Two images per identity, equal and under different cameras."""
    generator = torch.Generator().manual_seed(0)
    persons = torch.randint(0, 255, (count // 2, 3, 4, 2), generator=generator)
    return [
        {
            'image': persons[i // 2].to(torch.uint8),
            'pid': torch.tensor(i // 2),
            'camid': torch.tensor(i % 2),
            'is_query': torch.tensor(1 - i % 2),
            'index': torch.tensor(i),
        }
        for i in range(count)
    ]


def unlabeled(count=10, replaced=()):
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 255, (count, 1, 5, 5), generator=generator, dtype=torch.uint8)
    return [
        {
            'canvas': noise[0 if i in replaced else i].expand(3, 5, 5),
            'size': torch.tensor([5, 5]),
            'key': torch.tensor(i),
            'index': torch.tensor(i),
            'replaced': torch.tensor(7 if i in replaced else -1),
        }
        for i in range(count)
    ]


def run(dataset, encoders=None, **options):
    encoders = encoders or {'pixels': Identity(), 'nothing': Identity(0.0)}
    return evaluate_frozen(
        encoders, dataset, Preprocessor(), num_workers=0, device='cpu', **options
    )


@pytest.mark.parametrize('batch_size', [1, 5, 64])
def test_retrieval(batch_size):
    result = run(labeled(), batch_size=batch_size, progress=False)

    assert result['protocol'] == 'retrieval'
    assert result['images'] == 12
    assert result['rows']['pixels']['mAP'] == 100
    # Without a difference the gallery keeps its order: person i is found at place i.
    by_hand = sum(100 / place for place in range(1, 7)) / 6
    assert result['rows']['nothing']['mAP'] == pytest.approx(by_hand)
    assert result['rows']['nothing']['feature_std'] == 0


def test_two_view_recall():
    result = run(unlabeled(), progress=False)

    assert result['protocol'] == 'two-view'
    assert result['chance'] == 10
    assert result['rows']['pixels']['recall@1'] == 100
    assert result['rows']['nothing']['recall@1'] == 0


def test_stand_ins_are_left_out():
    result = run(unlabeled(replaced=(3, 4)), progress=False)

    assert result['images'] == 8
    assert result['rows']['pixels']['recall@1'] == 100


def test_table_names_each_row_and_its_scores():
    table = format_table(run(labeled(), progress=False))

    title, head, *rows = table.splitlines()
    assert title.endswith(
        '6 queries (0 without a match left out), 12 images; feature image_token'
    )
    told = format_table({**run(unlabeled(), progress=False), 'condition': 0.2})
    assert told.splitlines()[0].endswith('chance 10.00; feature image_token, λ = 0.2')
    assert head.split()[:4] == ['features', 'Rank-1', 'Rank-5', 'mAP']
    assert rows[0].split()[:4] == ['pixels', '100.0', '100.0', '100.0']


def test_progress_ends_with_the_total(capsys):
    run(labeled(), batch_size=5)

    assert capsys.readouterr().err.startswith('encoding: 3/3 (100 %), ')


@pytest.mark.parametrize(
    ('seconds', 'speed'), [(0.001, '1,000'), (0.1, '10'), (0.4, '2.5'), (30.0, '0.033')]
)
def test_progress_of_slow_steps_has_a_rate(seconds, speed, capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr('saip.datasets.progress.time.monotonic', lambda: now[0])
    for _ in track(range(4), 4, 'steps'):
        now[0] += seconds
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith(f'steps: 4/4 (100 %), {speed}/s, ')
    )


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match='no image'):
        run([])
