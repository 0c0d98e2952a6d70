"""Keypoint files by running a top-down model of mmpose on every sample.

mmengine reads the weights, and runs what code they hold unless ``saip.checkpoint`` is imported, as
the tool does. This floor lies below that package.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmengine.runner.checkpoint import load_checkpoint

from saip.errors import InputError, MissingLibraryError, one_line

from ..canvas import ImageError, decode_image
from ..crops import Crop
from ..keypoints import JOINTS, write_keypoints
from ..progress import track
from ..sources import Storage, open_source
from .keypoints import Converted


def from_pose_model(
    config: str,
    checkpoint: str,
    data: str,
    out: str | os.PathLike[str],
    ann_file: str = '',
    device: str = 'cpu',
) -> Converted:
    """Write the keypoints that a model finds; the whole sample is the person's box.

    Args:
        config: of an mmpose top-down model with COCO's 17 joints.
        checkpoint: its weights.
        data: folder or LMDB of the images.
        out: file to write.
        ann_file: list, manifest or boxes of the samples, relative to ``data``.
        device: of the model.

    Returns:
        How many samples have keypoints, and how many could not be read.

    Raises:
        ImportError: mmpose is not installed.
        InputError: the weights are of another model, its joints are not COCO's, or no sample can
            be read.
        FileNotFoundError: the images are not there.
    """
    inference_topdown, init_model = _apis()
    storage, crops, where = open_source(data, ann_file)
    model = init_model(config, device=device)
    _load(model, checkpoint)
    found: dict[Crop, np.ndarray] = {}
    for crop in track(crops, len(crops), 'poses estimated'):
        try:
            pixels = _read(storage, crop)
        except (ImageError, OSError) as error:
            print_log(f'{crop.path} left out: {one_line(error)}', 'current', logging.WARNING)
            continue
        (sample,) = inference_topdown(model, pixels)
        found[crop] = joints_of(sample)
    if not found:
        raise InputError(f'{where}: no sample could be read')
    write_keypoints(out, list(found), np.stack(list(found.values())))
    return Converted(len(found), len(crops) - len(found))


def _load(model: Any, checkpoint: str) -> None:
    """Load all weights, which mmpose would not insist on, and what they say of the joints.

    Raises:
        InputError: the weights are of another model, or its joints are not COCO's.
    """
    try:
        stored = load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    except RuntimeError as error:
        raise InputError(f'{checkpoint}: {one_line(error)}') from error
    model.dataset_meta = (stored.get('meta') or {}).get('dataset_meta', model.dataset_meta)
    names = tuple(model.dataset_meta['keypoint_id2name'].values())
    if names != JOINTS:
        raise InputError(
            f"{checkpoint}: the model's {len(names)} joints are not COCO's 17, but "
            f'{", ".join(names[:5])} ...'
        )


def joints_of(sample: Any) -> np.ndarray:
    """(17, 3) x, y in pixels of the sample and score, of mmpose's answer for one box."""
    answer = sample.pred_instances
    scores = np.clip(answer.keypoint_scores[0], 0, 1)
    return np.concatenate([answer.keypoints[0], scores[:, None]], axis=1)


def _read(storage: Storage, crop: Crop) -> np.ndarray:
    """(h, w, 3) uint8 BGR pixels of a sample, as mmpose's pipelines take an array."""
    pixels = decode_image(storage.read(crop.path))
    if crop.box is not None:
        x0, y0, x1, y1 = crop.box
        pixels = pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if not pixels.size:
        raise ImageError(f'the box {crop.box} lies outside of the image')
    return np.ascontiguousarray(pixels[..., ::-1])


def _apis() -> tuple[Any, Any]:
    """``inference_topdown`` and ``init_model`` of mmpose.

    Raises:
        ImportError: it is not installed.
    """
    try:
        from mmpose.apis import inference_topdown, init_model
    except ImportError as error:
        raise MissingLibraryError(
            f'estimating poses needs mmpose, see README.md: {error}'
        ) from error
    return inference_topdown, init_model
