"""Speed and difficulty of the synthetic persons.

``python benchmarks/bench_people.py`` draws 200 images to time them, then the test part of the
quickstart set, and prints Rank-1 and mAP (single query, images of the same identity by the
same camera left out) of features that know nothing about people. One thread, ten seconds.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import time
from dataclasses import replace

import cv2
import numpy as np
import torch
from mmengine.logging import MMLogger
from torch import nn

from saip.evaluation.histogram import coarse_pixels, color_histogram
from saip.evaluation.retrieval import score_retrieval
from saip.models.backbones.vit import ViTEncoder
from saip.synthetic import SIZES, MarketSpec, draw_image, list_images
from saip.synthetic.market import QUERY, TRAIN


def crops_per_second(spec: MarketSpec, count: int = 200) -> float:
    """Images per CPU second of this process, JPEG encoding included."""
    images = [image for image in list_images(spec) if image.kind == 'person'][:count]
    for image in images[: 2 * spec.cameras]:
        draw_image(spec, image)
    start = time.process_time()
    for image in images:
        draw_image(spec, image)
    return len(images) / (time.process_time() - start)


def test_images(spec: MarketSpec) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
    """Return images (N, 3, h, w) uint8 and their labels, junk left out."""
    images, labels = [], []
    for image in list_images(spec):
        folder, name = image.path.split('/')
        if folder == TRAIN or name.startswith('-1'):
            continue
        data = np.frombuffer(draw_image(spec, image), np.uint8)
        images.append(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
        labels.append((int(name[:4]), image.key[1], folder == QUERY))
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
    # Encoders log every parameter that they initialize.
    MMLogger.get_current_instance().setLevel('WARNING')
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    spec = replace(SIZES['quickstart'], seed=args.seed)
    print(
        f'{crops_per_second(spec):.0f} crops of {spec.height}x{spec.width} per second and core'
    )
    images, labels = test_images(spec)
    rows = {f'untrained ViT, seed {seed}': untrained_vit(images, seed) for seed in range(3)} | {
        'random convolutions': random_convolutions(images, 0),
        'color histogram in 6 stripes': color_histogram(images),
        'coarse raw pixels': coarse_pixels(images),
        'chance': torch.randn(len(images), 64),
    }
    print(f'{len(images)} images, {labels["is_query"].sum()} queries; Rank-1 / mAP in %')
    for name, features in rows.items():
        score = score_retrieval(features, labels, ranks=(1,))
        print(f'{name:32s}{score["Rank-1"]:6.1f} / {score["mAP"]:4.1f}')


if __name__ == '__main__':
    main()
