"""What the quickstart's report shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from saip.datasets.person_images import PersonImages
from saip.models.backbones import BaseEncoder
from saip.quickstart.verdict import Verdict
from saip.registry import MODELS
from saip.structures import Progress
from saip.visualization.attention import (
    draw_attention,
    draw_crowd_attention,
    tile_crowd,
)
from saip.visualization.curves import read_scalars
from saip.visualization.report import Figure, ReportData, write_report
from saip.visualization.retrieval import RankedList, draw_ranked_lists
from saip.visualization.views import draw_views

NAMES = {
    'random weights': 'before training',
    'student': 'after training',
    'expert': 'its expert',
}
SHOWN = ('Rank-1', 'mAP', 'recall@1')
QUERIES, FOUND = 5, 8
PEOPLE = 8


@dataclass(frozen=True)
class Run:
    """A finished quickstart.

    Attributes:
        config: the resolved config.
        out: its folder.
        encoder: the trained student.
        result: of the frozen evaluation.
        exported: the backbone file.
        verdict: whether it learned.
        train_set: images trained on.
        evaluation_set: images evaluated on.
        minutes: it took.
        drawn: the images are synthetic persons.
    """

    config: Config
    out: Path
    encoder: BaseEncoder
    result: dict[str, Any]
    exported: Path
    verdict: Verdict
    train_set: PersonImages
    evaluation_set: BaseDataset
    minutes: float
    drawn: bool


def write_quickstart_report(run: Run) -> Path:
    """Write the report; returns its HTML file."""
    encoder = run.encoder.eval().cpu()
    statistics = {key: run.config.model.data_preprocessor[key] for key in ('mean', 'std')}
    rows = {NAMES.get(name, name): row for name, row in run.result['rows'].items()}
    retrieval = {
        name: {metric: row[metric] for metric in SHOWN if metric in row}
        for name, row in rows.items()
    }
    parameters = sum(p.numel() for p in encoder.parameters()) / 1e6
    summary: dict[str, str | int | float] = {
        'images trained on': len(run.train_set),
        'encoder': f'{parameters:.1f} M parameters, {encoder.img_size[0]}x{encoder.img_size[1]}',
        'device': torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU',
        'minutes': f'{run.minutes:.1f}',
        'backbone': run.exported.name,
    }
    # Images far apart in the listing show different people.
    chosen = torch.linspace(0, len(run.train_set) - 1, PEOPLE).long().tolist()
    people = [_original(run.train_set, i) for i in chosen]
    images = [
        _views(run),
        Figure(
            'Where the network looks',
            f'The {encoder.attention_is} in the last block, at the training size and larger. '
            'Bright cells are more than twice the average.',
            draw_attention(encoder, people[:3], statistics),
            'The person is brighter than the background, at all sizes.',
            'The map is flat, or the same few cells are bright in every image.',
        ),
        Figure(
            'Where it looks in a crowd',
            'The same map for several persons in one image, larger than any training image.',
            draw_crowd_attention(encoder, tile_crowd(people), statistics),
            'Every person has bright cells.',
            'Bright cells lie at random, or at the borders of the image.',
        ),
    ]
    if run.result['protocol'] == 'retrieval':
        images.insert(0, _ranked(run, statistics))
    curves = _curves(run.out)
    data = ReportData(
        'SAIP quickstart',
        summary,
        curves,
        retrieval,
        images,
        _introduction(run),
        verdict=run.verdict.text,
        success=run.verdict.learned,
    )
    return write_report(run.out / 'report', data)


def _introduction(run: Run) -> str:
    if not run.drawn:
        return (
            'The encoder was pretrained without labels on your images. One in ten of them, at most '
            '1,000, was held out and is used here. The figures show whether the network learned '
            'something, not how good its features are for a task.'
        )
    return (
        'The encoder was pretrained without labels on synthetic persons, then asked to find other '
        'persons across cameras. The figures show that the pipeline works; they do not measure the '
        'method on real images, which takes a real data set and many GPU hours.'
    )


def _original(dataset: PersonImages, index: int) -> Image.Image:
    """The image of a sample with its own proportions."""
    sample = dataset[index]
    height, width = sample['size'].tolist()
    array = sample['canvas'].permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array)).resize((width, height))


def _views(run: Run) -> Figure:
    """The views of one training image."""
    preprocessor = MODELS.build(run.config.model.data_preprocessor)
    chosen = torch.linspace(0, len(run.train_set) - 1, PEOPLE).long().tolist()
    samples = [run.train_set[i] for i in chosen]
    batch = {key: torch.stack([s[key] for s in samples]) for key in samples[0]}
    preprocessor.begin_step(Progress.at(0, 1, 1))
    views = preprocessor(batch, training=True)['inputs']
    return Figure(
        'Views of one image',
        'What the network sees of one image in one step: crops at several scales, small crops, a '
        'masked view to be reconstructed, and a scene in which the person is to be found.',
        draw_views(views, preprocessor, 0, batch['canvas'][0]),
        'The person can be recognized in every crop, and colors vary between them.',
        'Crops without a person: the images are no person crops.',
    )


def _curves(out: Path) -> dict[str, list[tuple[float, float]]]:
    """Losses, and student and expert in validation."""
    scalars = read_scalars(out)
    kept = ('mAP', 'Rank-1', 'recall@1')
    return {
        name: curve
        for name, curve in scalars.items()
        if (name.split('/')[-1].startswith('loss') and not name.endswith('ln_k'))
        or name.endswith(kept)
    }


@torch.no_grad()
def _ranked(run: Run, statistics: dict[str, Any]) -> Figure:
    """Queries and what the trained network finds for them."""
    samples = [run.evaluation_set[i] for i in range(len(run.evaluation_set))]
    images = torch.stack([s['image'] for s in samples])
    mean, std = (torch.tensor(statistics[key]).view(-1, 1, 1) for key in ('mean', 'std'))
    features = normalize(
        torch.cat(
            [
                run.encoder.encode((part.float() - mean) / std).require_image_token()
                for part in images.split(64)
            ]
        ),
        dim=1,
    )
    labels = torch.tensor([[int(s[k]) for k in ('pid', 'camid', 'is_query')] for s in samples])
    queries = labels[:, 2].nonzero()[:, 0]
    rows = []
    for query in queries[:: max(1, len(queries) // QUERIES)][:QUERIES].tolist():
        pid, camera = labels[query, :2]
        wrong = (labels[:, 0] == pid) & (labels[:, 1] == camera)
        allowed = (labels[:, 2] == 0) & (labels[:, 0] != -1) & ~wrong
        scores = (features @ features[query]).masked_fill(~allowed, -2)
        best = scores.topk(FOUND).indices
        rows.append(
            RankedList(
                _to_image(images[query]),
                [_to_image(images[i]) for i in best],
                (labels[best, 0] == pid).tolist(),
            )
        )
    return Figure(
        'Who it finds',
        'Left: the query. Right: the most similar images of other cameras, best first. A green '
        'frame is the same person, a red one another.',
        draw_ranked_lists(rows),
        'Green frames come first; red ones show persons in similar clothing.',
        'Frames are red, and the images share a background or a tint rather than clothing.',
    )


def _to_image(image: Tensor) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
