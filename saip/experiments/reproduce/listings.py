"""Tables VIII and IX and Figures 1, 4 and 5, which show no results of single fine-tunings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from mmengine.config import Config

from saip.datasets.manifest import MANIFEST_NAME, read_manifest
from saip.experiments.reproduce.needs import Need, task_needs, weights_needs
from saip.experiments.reproduce.plan import (
    Settings,
    Step,
    describe_options,
    short_path,
    tool_path,
    weights_file,
    weights_steps,
)
from saip.experiments.reproduce.report import Entry, Line, Report, describe_weights
from saip.experiments.reproduce.tasks import TASKS, Task
from saip.experiments.reproduce.weights import Weights, pretrained

VIT = 'vit-tiny-p16'
HP1M = {
    'AIC': 378352,
    'COCO': 149813,
    'CIHP': 93207,
    'MHPv2': 41056,
    'CrowdHuman': 428109,
    'Fashionpedia': 45623,
    'HumanArt': 81976,
}
"""Table IX: images by source; their sum is the table's, 1,218,136."""

_SHOWN = ('DINO', 'MAE', 'MAE+DINO', 'HAP', 'SOLIDER', 'SAIP', 'SAIP*')


def report_listing(name: str, settings: Settings) -> Report:
    """What ``table8``, ``table9``, ``figure1``, ``figure4`` or ``figure5`` shows now."""
    return LISTINGS[name](name, settings)


def _report(
    name: str,
    settings: Settings,
    title: str,
    head: str,
    column: str,
    lines: Iterable[Line],
    *notes: str,
) -> Report:
    marks = describe_options(settings)
    return Report(name, title, (head,), (), (column,), tuple(lines), notes, marks)  # fmt: skip


def _table_8(name: str, settings: Settings) -> Report:
    weights = pretrained('SAIP', VIT)
    cfg = settings.read_pretraining(weights)
    lines = [
        Line(label.lower().replace(' ', '-'), (label,), (Entry(paper, found, found == paper),))
        for label, paper, found in _settings_of(cfg)
    ]
    return _report(
        name, settings, 'Table VIII: pretraining setting', 'setting', 'value', lines,
        f'Read from configs/pretrain/{weights.pretraining} as it resolves now. The base rate '
        'counts per 256 images: 2e-3 for 8 times 256.',
    )  # fmt: skip


def _settings_of(cfg: Config) -> Iterable[tuple[str, str, str]]:
    """Name, the paper's value and the configuration's, in the order of Table VIII."""
    optimizer = cfg.optim_wrapper.optimizer
    whole = cfg.auto_scale_lr.base_batch_size
    warmup, cosine = cfg.param_scheduler
    kinds = {'CosineAnnealingLR': 'Cosine scheduler'}
    yield 'Optimizer', 'AdamW', optimizer.type
    yield (
        'Base Learning Rate',
        '2.5e-4',
        f'{optimizer.lr * 256 / whole:.1e}'.replace('e-0', 'e-'),
    )
    yield 'Weight Decay', '0.05', f'{optimizer.weight_decay:g}'
    yield 'Optimizer Momentum', '0.9, 0.95', ', '.join(f'{beta:g}' for beta in optimizer.betas)
    yield 'Batch Size per gpu', '256', str(cfg.train_dataloader.batch_size)
    yield 'Learning Rate Schedule', 'Cosine scheduler', kinds.get(cosine.type, cosine.type)
    yield 'Warmup Epochs', '10', str(warmup.end)


def _table_9(name: str, settings: Settings) -> Report:
    folder = Path(settings.data) / 'HP1M'
    manifest = folder / MANIFEST_NAME
    counts: Counter[str] = Counter()
    if manifest.is_file():
        entries = read_manifest(manifest).entries
        counts.update(entry.crop.path.split('/', 1)[0].lower() for entry in entries)
    need = next(iter(weights_needs(pretrained('SAIP', VIT, ('HP1M',)), settings)))
    lines = [
        _count(source, paper, counts[source.lower()], bool(counts), (need,))
        for source, paper in HP1M.items()
    ]
    total = _count('Total', sum(HP1M.values()), counts.total(), bool(counts), (need,))
    return _report(
        name, settings, 'Table IX: sources of HP1M', 'data set', 'images', [*lines, total],
        f'Counted in {manifest}. The paper does not state its rules; ours are in '
        'docs/data.md#the-sets-of-the-paper, with what does not fit any rule (CrowdHuman).',
    )  # fmt: skip


def _count(source: str, paper: int, found: int, known: bool, needs: tuple[Need, ...]) -> Line:
    ahead = f'{found:,} ({found - paper:+,})' if known else ''
    entry = Entry(f'{paper:,}', ahead, found == paper if known else None)
    return Line(source.lower(), (source,), (entry,), needs=needs)


def _drawing(
    name: str, settings: Settings, methods: tuple[str, ...], title: str, *notes: str
) -> Report:
    shown = [(method, pretrained(method, VIT)) for method in methods]
    out = settings.folder / 'figures' / f'{name}.png'
    files = [f'{method}={weights_file(weights, settings)}' for method, weights in shown]
    tool = tool_path(settings, 'visualization/draw_attention.py')
    command = (
        'python',
        tool,
        files[0],
        '--against',
        *files[1:],
        '--synthetic',
        '--out',
        str(out),
    )
    steps = [step for _, weights in shown for step in weights_steps(weights, settings)]
    draw = Step('draw', f'drawing {name}', command, {}, out.parent, out)
    needs = _needs_of([weights for _, weights in shown], settings)
    line = Line(
        'all', (', '.join(methods),), (Entry('', _written(out)),), 'the weights of each method',
        '', needs, (*steps, draw),
    )  # fmt: skip
    return _report(name, settings, title, 'methods', 'drawn', [line], *notes)


def _needs_of(weights: list[Weights], settings: Settings) -> tuple[Need, ...]:
    found = [need for one in weights for need in weights_needs(one, settings)]
    return tuple(dict.fromkeys(found))


def _written(file: Path) -> str:
    if not file.is_file():
        return ''
    return f'{file} of {date.fromtimestamp(file.stat().st_mtime).isoformat()}'


_PHOTOS = (
    "The paper's photographs are not published; the command draws synthetic people, whose masks "
    'are known. Name images of your own in the place of --synthetic.'
)


def _figure_1(name: str, settings: Settings) -> Report:
    return _drawing(
        name, settings, _SHOWN[:5], 'Figure 1: where other pretrainings look',
        'The caption says existing pretrainings, and no names: the five that the tables compare.',
        _PHOTOS,
    )  # fmt: skip


def _figure_5(name: str, settings: Settings) -> Report:
    return _drawing(
        name, settings, _SHOWN, 'Figure 5: where SAIP and others look',
        'The text names MAE, HAP, SAIP and SAIP with a stronger expert.', _PHOTOS,
    )  # fmt: skip


def _figure_4(name: str, settings: Settings) -> Report:
    weights = pretrained('SAIP', VIT)
    pretraining = weights_steps(weights, settings)
    lines = [
        _curve(TASKS[key], weights, pretraining, settings)
        for key in ('market1501', 'pa100k', 'lip')
    ]
    return _report(
        name, settings, 'Figure 4: downstream results over the pretraining', 'task', 'best epoch',
        lines,
        'The text says that the best result is reached at epoch 200 of 300, and gives no figures; '
        'which tasks the figure shows is not in the text, so they are those of Tables IV to VI.',
    )  # fmt: skip


def _curve(task: Task, weights: Weights, pretraining: list[Step], settings: Settings) -> Line:
    """The fine-tunings of a task from every exported backbone."""
    run = pretraining[0].work_dir
    config = settings.root / 'configs/downstream' / task.config
    cfg = Config.fromfile(config)
    options = [*settings.options, *settings.batch_option(config, cfg)]
    out = settings.folder / 'figures/curves'
    command = ['python', tool_path(settings, 'analysis_tools/epoch_curve.py'), str(run)]
    command += ['--task', short_path(config, settings), '--out', str(out)]
    command += ['--metric', task.columns[0].metric, '--gpus', str(settings.processes(config))]
    if options:
        command += ['--cfg-options', *options]
    share = max(settings.schedule, task.least)
    variables = {} if share == 1 else {'SAIP_SCHEDULE': f'{share:g}'}
    # The image is drawn when all backbones have been fine-tuned.
    image = out / f'{config.stem}.png'
    step = Step('draw', f'curve of {task.title}', tuple(command), variables, run, image)
    found = _best_epoch(image.with_suffix('.json'), task.columns[0].metric)
    needs = (*_needs_of([weights], settings), *task_needs(task, settings))
    return Line(
        task.name,
        (task.title,),
        (Entry('epoch 200', found),),
        describe_weights(weights),
        '',
        needs,
        (*pretraining, step),
    )


def _best_epoch(curve: Path, metric: str) -> str:
    """Of the points of a curve that are there the best."""
    if not curve.is_file():
        return ''
    points = json.loads(curve.read_text(encoding='utf-8'))['points']
    points = [point for point in points if metric in point['metrics']]
    if not points:
        return ''
    best = max(points, key=lambda point: point['metrics'][metric])
    return f'epoch {best["epoch"]}, of {len(points)} ({best["metrics"][metric]:.1f})'


LISTINGS = {
    'table8': _table_8,
    'table9': _table_9,
    'figure1': _figure_1,
    'figure4': _figure_4,
    'figure5': _figure_5,
}
"""By name on the command line."""
