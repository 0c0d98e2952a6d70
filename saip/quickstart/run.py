"""The steps of the quickstart: people, pretraining, evaluation, export, report."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from saip.checkpoint import export_backbone, load_checkpoint_file
from saip.datasets.person_images import PersonImages
from saip.engine.launch import StartError, read_config, train
from saip.experiments.compared_encoders import find_compared_encoders, open_images
from saip.experiments.frozen_eval import evaluate_frozen
from saip.experiments.table import format_table
from saip.quickstart.report import Run, write_quickstart_report
from saip.synthetic.market import SIZES, write_market1501

# Images seen by a small run, which two CPU cores train in 10 to 12 minutes. Photographs vary more
# than synthetic persons: two-view recall is 23 % after 38,400 of them and 32 % after 48,000.
PEOPLE_IMAGES = 38_400
FOLDER_IMAGES = 48_000
# The same for an encoder of full size: one epoch of the synthetic persons.
OTHER_IMAGES = 4_800
# The full encoder on a GPU: about 13 minutes on an H100 by the time of a step, never run to its
# end.
FULL_IMAGES = 480_000
LEARNT_FACTOR = 3.0
HOLDOUT = 0.1
CHECKPOINTS = 6


@dataclass(frozen=True)
class Plan:
    """What a quickstart runs.

    Attributes:
        config: leaf config.
        name: the leaf's, with the encoder's in it.
        images: to train on, repetitions counted.
        batch: images per step.
        factor: how many times the untrained network's mAP is expected on synthetic persons.
    """

    config: Path
    name: str
    images: int
    batch: int
    factor: float


def choose_plan(configs: Path, folder: bool, gpu: bool) -> Plan:
    """The full views and ViT-Tiny on a GPU, reduced ones on a CPU, or the encoder asked for.

    ``SAIP_BACKBONE`` asks for another encoder. For those it is not known how much they learn in
    the time, so they are expected to be better than untrained and no more.
    """
    small = FOLDER_IMAGES if folder else PEOPLE_IMAGES
    leaf, batch, encoder, images, others = (
        ('saip_any-backbone_1xb128', 128, 'vit-tiny-p16', FULL_IMAGES, FULL_IMAGES)
        if gpu
        else ('saip-small_any-backbone_1xb32', 32, 'vit-4blocks-p16', small, OTHER_IMAGES)
    )
    stem = f'{leaf}-amp-coslr_{"folder" if folder else "people"}'
    chosen = os.environ.get('SAIP_BACKBONE', encoder)
    factor = LEARNT_FACTOR
    if chosen != encoder:
        factor, images = 1.0, others
    config = configs / 'pretrain/quickstart' / f'{stem}.py'
    return Plan(config, stem.replace('any-backbone', chosen), images, batch, factor)


def quickstart(configs: Path, data: Path | None, out: Path, people: Path) -> bool:
    """Run everything; what was finished before is not done again.

    Args:
        configs: folder of configs.
        data: folder of person crops; None draws people.
        out: where logs, checkpoints, the backbone and the report go.
        people: where synthetic persons are kept.

    Returns:
        Whether the network learnt: on synthetic persons mAP at least three times the untrained
        network's (with an encoder of ``SAIP_BACKBONE``, more than that), on a folder more
        two-view recall than untrained.

    Raises:
        FileNotFoundError: no such folder.
        StartError: too few images in it, or the folder of results holds another run.
    """
    started = time.monotonic()
    plan = choose_plan(configs, data is not None, torch.cuda.is_available())
    read_config(str(plan.config))  # an encoder that does not exist is refused before all work
    train_set = _prepare_images(data, people)
    epochs = _count_epochs(plan, len(train_set), data or people)
    print(f'2/5 pretraining for {epochs} epochs, log in {out}', flush=True)
    os.environ['SAIP_EPOCHS'] = str(epochs)
    _refuse_other_run(out, plan, epochs)
    interval = {'default_hooks.checkpoint.interval': max(1, epochs // CHECKPOINTS)}
    train(str(plan.config), work_dir=str(out), resume='auto', options=interval)
    checkpoint = out / f'epoch_{epochs}.pth'
    print('3/5 evaluating the frozen features', flush=True)
    compared = find_compared_encoders(str(checkpoint))
    images = open_images(data or people, compared.size, HOLDOUT if data else 0)
    result = evaluate_frozen(
        compared.encoders,
        images,
        compared.preprocessor,
        num_workers=0,
        feature=compared.feature,
    )
    print(format_table(result), flush=True)
    print('4/5 exporting the backbone', flush=True)
    exported = export_backbone(
        load_checkpoint_file(checkpoint), out, name=plan.name, source=checkpoint
    )
    print('5/5 writing the report', flush=True)
    learnt, verdict = judge(result, plan.factor)
    run = Run(
        config=Config.fromfile(plan.config),
        out=out,
        encoder=compared.encoders['student'],  # type: ignore[arg-type]
        result=result,
        exported=exported,
        verdict=verdict,
        train_set=train_set,
        evaluation_set=images,
        minutes=(time.monotonic() - started) / 60,
        drawn=data is None,
    )
    report = write_quickstart_report(run)
    print(f'\n{verdict}\nbackbone: {exported}\nreport:   {report}')
    return learnt


def _prepare_images(data: Path | None, people: Path) -> PersonImages:
    """Draw people or open the folder; returns the images to train on."""
    if data is None:
        print(f'1/5 drawing people into {people}', flush=True)
        write_market1501(people, SIZES['quickstart'], workers=os.cpu_count() or 1)
        os.environ['SAIP_PEOPLE'] = str(people)
        return PersonImages(str(people / 'bounding_box_train'))
    print(f'1/5 looking at the images of {data}', flush=True)
    os.environ['SAIP_FOLDER'] = str(data)
    # The folder is validated by itself, whatever other runs are validated on.
    os.environ.pop('SAIP_RETRIEVAL', None)
    return PersonImages(str(data), holdout=HOLDOUT)


def _count_epochs(plan: Plan, images: int, where: Path) -> int:
    """How often the images are seen.

    Raises:
        StartError: there are fewer than a batch.
    """
    steps = images // plan.batch
    if steps == 0:
        raise StartError(
            f'{where}: {images} images to train on; at least {plan.batch} are needed'
        )
    return max(1, math.ceil(plan.images / (steps * plan.batch)))


def _refuse_other_run(out: Path, plan: Plan, epochs: int) -> None:
    """Refuse to continue a run of another length or configuration.

    Raises:
        StartError: the folder holds one.
    """
    stamp = out / 'quickstart.txt'
    wanted = f'{plan.name} {epochs} epochs\n'
    if stamp.is_file() and stamp.read_text() != wanted:
        raise StartError(
            f'{out} holds another run ({stamp.read_text().strip()}, now {wanted.strip()}); '
            'remove the folder, or choose another with --out'
        )
    out.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted)


def judge(result: dict[str, Any], factor: float) -> tuple[bool, str]:
    """Whether the trained network beats the untrained one, and that in words.

    Args:
        result: of :func:`saip.experiments.frozen_eval.evaluate_frozen`.
        factor: how many times the untrained network's mAP is expected; 1 stands for more.
    """
    rows = result['rows']
    if result['protocol'] == 'retrieval':
        before, after = rows['random weights']['mAP'], rows['student']['mAP']
        learnt = after > before and after >= factor * before
        times = after / max(before, 1e-9)
        expected = f'{factor:.0f} times expected' if factor > 1 else 'more than once expected'
        said = 'It learnt' if learnt else 'It did NOT learn as it should'
        return learnt, (
            f'{said}: mAP {before:.1f} % untrained, {after:.1f} % trained ({times:.1f} times; '
            f'{expected}), color histogram '
            f'{rows["color histogram"]["mAP"]:.1f} %.'
        )
    before, after = rows['random weights']['recall@1'], rows['student']['recall@1']
    learnt = after > before
    said = 'It learnt' if learnt else 'It did NOT learn'
    return learnt, (
        f'{said}: the other view of a held-back image is found first in {before:.1f} % of the '
        f'cases untrained, {after:.1f} % trained (chance {result["chance"]:.1f} %).'
    )
