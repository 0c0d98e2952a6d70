"""Speed and difficulty of the drawn people.

``python benchmarks/bench_people.py`` draws 200 pictures to time them, then the test part of the
quickstart set, and prints Rank-1 and mAP (single query, pictures of the same identity by the
same camera left out) of features that know nothing about people. One thread, ten seconds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import cv2
import numpy as np
import torch
from mmengine.logging import MMLogger
from torch import nn

from saip.datasets.people import SIZES, MarketSpec, draw_picture, list_pictures
from saip.datasets.people.market import QUERY, TRAIN
from saip.evaluation.histogram import coarse_pixels, colour_histogram
from saip.evaluation.retrieval import score_retrieval
from saip.models.backbones.vit import ViTEncoder


def crops_per_second(spec: MarketSpec, count: int = 200) -> float:
    """Pictures per CPU second of this process, JPEG encoding included."""
    pictures = [picture for picture in list_pictures(spec) if picture.kind == 'person'][:count]
    for picture in pictures[: 2 * spec.cameras]:
        draw_picture(spec, picture)
    start = time.process_time()
    for picture in pictures:
        draw_picture(spec, picture)
    return len(pictures) / (time.process_time() - start)


def test_pictures(spec: MarketSpec) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
    """Return pictures (N, 3, h, w) uint8 and their labels, junk left out."""
    images, labels = [], []
    for picture in list_pictures(spec):
        folder, name = picture.path.split('/')
        if folder == TRAIN or name.startswith('-1'):
            continue
        data = np.frombuffer(draw_picture(spec, picture), np.uint8)
        images.append(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
        labels.append((int(name[:4]), picture.key[1], folder == QUERY))
    columns = dict(zip(('pid', 'camid', 'is_query'), np.array(labels).T, strict=True))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), columns


@torch.no_grad()
def random_convolutions(images: torch.Tensor, seed: int) -> torch.Tensor:
    """Mean of the last map of a random four-layer convolutional network."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inside, outside in ((3, 32), (32, 64), (64, 128), (128, 192)):
        layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.BatchNorm2d(outside), nn.ReLU()]
    network = nn.Sequential(*layers)
    return torch.cat([network(part.float() / 255).mean((2, 3)) for part in images.split(256)])


@torch.no_grad()
def untrained_vit(images: torch.Tensor, seed: int) -> torch.Tensor:
    """Image token of an untrained encoder of width 192 with four blocks."""
    torch.manual_seed(seed)
    arch = dict(embed_dims=192, num_layers=4, num_heads=3, feedforward_channels=768)
    encoder = ViTEncoder(
        arch=arch, img_size=tuple(images.shape[2:]), patch_size=16, feature_level=2
    )
    encoder.init_weights()
    encoder.eval()
    parts = images.split(256)
    outputs = [encoder.encode((part.float() - 118) / 58) for part in parts]
    return torch.cat([output.require_image_token() for output in outputs])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    # Encoders log every parameter that they initialise.
    MMLogger.get_current_instance().setLevel('WARNING')
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    spec = replace(SIZES['quickstart'], seed=args.seed)
    print(
        f'{crops_per_second(spec):.0f} crops of {spec.height}x{spec.width} per second and core'
    )
    images, labels = test_pictures(spec)
    rows = {f'untrained ViT, seed {seed}': untrained_vit(images, seed) for seed in range(3)} | {
        'random convolutions': random_convolutions(images, 0),
        'colour histogram in 6 stripes': colour_histogram(images),
        'coarse raw pixels': coarse_pixels(images),
        'chance': torch.randn(len(images), 64),
    }
    print(f'{len(images)} pictures, {labels["is_query"].sum()} queries; Rank-1 / mAP in %')
    for name, features in rows.items():
        score = score_retrieval(features, labels, ranks=(1,))
        print(f'{name:32s}{score["Rank-1"]:6.1f} / {score["mAP"]:4.1f}')


if __name__ == '__main__':
    main()
