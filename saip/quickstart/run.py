"""The steps of the quickstart: people, pretraining, evaluation, export, report."""

from __future__ import annotations

from saip.startup import USERS_THREADS, usable_cores

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from rich.console import Console

from saip.checkpoint import export_backbone, load_checkpoint_file
from saip.datasets.person_images import PersonImages
from saip.datasets.progress import reported
from saip.engine.launch import read_config, train
from saip.errors import MissingFileError, PreemptedError, StartError
from saip.experiments.compared_encoders import find_compared_encoders, open_images
from saip.experiments.frozen_eval import evaluate_frozen
from saip.experiments.table import format_table
from saip.quickstart.idle_cores import count_idle_cores, fit_threads
from saip.quickstart.report import Run, write_quickstart_report
from saip.quickstart.screen import Screen, output_to_file
from saip.quickstart.screen_hook import ScreenHook
from saip.quickstart.verdict import judge
from saip.synthetic.market import SIZES, write_market1501

# Images seen by a small run on two CPU cores: 450 steps on synthetic persons. Photographs vary
# more.
PEOPLE_IMAGES = 14_400
FOLDER_IMAGES = 24_000
# The same for any other encoder: one epoch of the synthetic persons.
OTHER_IMAGES = 4_800
# The full encoder on a GPU: about 13 minutes on an H100 by the time of a step, never run to its
# end.
FULL_IMAGES = 480_000
# How many times the untrained network's mAP is expected. That of the small network is twice the
# baselines' already, since its image token is a maximum over stripes of the image; trained it has
# 2.2 times as much.
SMALL_FACTOR = 1.5
FULL_FACTOR = 3.0
HOLDOUT = 0.1
CHECKPOINTS = 6
VALIDATIONS = 3
STEPS = 5
LOG = 'quickstart.log'
WITH_RESUME = 'the same command with --resume goes on'
GOES_ON = 'the same command goes on from there'


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
    if gpu:
        leaf, batch, encoder = 'saip_any-backbone_1xb128', 128, 'vit-tiny-p16'
        images, others, factor = FULL_IMAGES, FULL_IMAGES, FULL_FACTOR
    else:
        leaf, batch, encoder = 'saip-small_any-backbone_1xb32', 32, 'patch-resnet'
        images, others, factor = PEOPLE_IMAGES, OTHER_IMAGES, SMALL_FACTOR
        if folder:
            images = FOLDER_IMAGES
    stem = f'{leaf}-amp-coslr_{"folder" if folder else "people"}'
    chosen = os.environ.get('SAIP_BACKBONE', encoder)
    if chosen != encoder:
        factor, images = 1.0, others
    config = configs / 'pretrain/quickstart' / f'{stem}.py'
    return Plan(config, stem.replace('any-backbone', chosen), images, batch, factor)


def quickstart(configs: Path, data: Path | None, out: Path, people: Path) -> bool:
    """Run everything; what was finished before is not done again.

    The standard output shows the steps, their progress and the result; everything that libraries
    print goes to ``out/quickstart.log``.

    Args:
        configs: folder of configs.
        data: folder of person crops; None draws people.
        out: where logs, checkpoints, the backbone and the report go.
        people: where synthetic persons are kept.

    Returns:
        Whether the network learned: on synthetic persons mAP at least 1.5 times the untrained
        network's (on a GPU three times, with an encoder of ``SAIP_BACKBONE`` more than that), on
        a folder more two-view recall than untrained.

    Raises:
        FileNotFoundError: no such folder.
        PreemptedError: Ctrl-C or SIGTERM; the same call goes on from there.
        StartError: too few images in it, or the folder of results holds another run.
    """
    plan = choose_plan(configs, data is not None, torch.cuda.is_available())
    # What libraries print while they are imported for it is of no use here.
    with output_to_file(Path(os.devnull)):
        # An encoder that does not exist is refused before all work.
        read_config(str(plan.config))
    if data is not None and not data.is_dir():
        raise MissingFileError(f'{data}: no such folder')
    log = out / LOG
    with output_to_file(log) as terminal:
        screen = Screen(Console(file=terminal, highlight=False), STEPS)
        screen.say(f'SAIP quickstart: {plan.name}; full log: {log}')
        try:
            return _run(plan, data, out, people, screen)
        except PreemptedError as error:
            raise PreemptedError(str(error).replace(WITH_RESUME, GOES_ON)) from None
        except KeyboardInterrupt:
            raise PreemptedError(f'interrupted; {GOES_ON}') from None


def _run(plan: Plan, data: Path | None, out: Path, people: Path, screen: Screen) -> bool:
    """Do the steps; arguments and result as of :func:`quickstart`."""
    started = time.monotonic()
    with reported(lambda label, done, total: screen.progress(done, total)):
        with screen.step('draw synthetic persons' if data is None else f'read {data}'):
            train_set = _prepare_images(data, people)
            epochs = _count_epochs(plan, len(train_set), data or people)
            os.environ['SAIP_EPOCHS'] = str(epochs)
            _refuse_other_run(out, plan, epochs)
        if not torch.cuda.is_available() and not USERS_THREADS:
            _leave_busy_cores(screen)
        with screen.step(f'pretrain on {len(train_set):,} images, {epochs} epochs'):
            intervals = {
                'default_hooks.checkpoint.interval': max(1, epochs // CHECKPOINTS),
                'train_cfg.val_interval': max(1, epochs // VALIDATIONS),
            }
            train(
                str(plan.config),
                work_dir=str(out),
                resume='auto',
                options=intervals,
                hooks=[ScreenHook(screen)],
            )
        checkpoint = out / f'epoch_{epochs}.pth'
        with screen.step('evaluate frozen features'):
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
        with screen.step('export the backbone'):
            exported = export_backbone(
                load_checkpoint_file(checkpoint), out, name=plan.name, source=checkpoint
            )
        with screen.step('write the report'):
            verdict = judge(result, plan.factor)
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
    screen.say(f'\n{verdict.text}', 'bold green' if verdict.learned else 'bold red')
    screen.say(f'report:   {report}\nbackbone: {exported}')
    return verdict.learned


def _prepare_images(data: Path | None, people: Path) -> PersonImages:
    """Draw people or open the folder; returns the images to train on."""
    for name in ('SAIP_RETRIEVAL', 'SAIP_LABELED'):  # whatever validates other runs
        os.environ.pop(name, None)
    if data is None:
        write_market1501(people, SIZES['quickstart'], workers=usable_cores())
        os.environ['SAIP_PEOPLE'] = str(people)
        return PersonImages(str(people / 'bounding_box_train'))
    os.environ['SAIP_FOLDER'] = str(data)
    return PersonImages(str(data), holdout=HOLDOUT)


def _leave_busy_cores(screen: Screen) -> None:
    """Take no more threads than cores are idle, and say so if these are fewer."""
    most = torch.get_num_threads()
    threads = fit_threads(most, count_idle_cores())
    torch.set_num_threads(threads)
    if threads < most:
        screen.say(f'{threads} of {most} threads, since other processes keep cores busy')


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
