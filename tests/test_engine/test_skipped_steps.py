"""No step on garbage: nothing moves, and the log says when, what and which files."""

import json
import lzma
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from saip.engine.hooks.skipped_steps import FILE, NonFiniteLossError
from saip.engine.unwrap import unwrap
from saip.models.ops import skipping
from tests.processes import in_processes
from tests.test_engine.test_bad_files import make_set
from tests.test_recordings import old, runs
from tests.test_recordings.cases import Case
from tests.test_recordings.record import FILE as RECORDING

pytestmark = pytest.mark.usefixtures('fresh_mmengine')

STEPS = 7
KINDS = ('loss', 'gradients', 'images')


class Poison(Hook):
    """Spoils some micro-batches on one process, and compares the state before and after."""

    priority = 'LOWEST'

    def __init__(self, kind: str, iterations: tuple[int, ...], rank: int, window: int) -> None:
        self.kind = kind
        self.iterations = iterations
        self.rank = rank
        self.window = window
        self.unequal: list[str] = []
        self.skipped: list[int] = []
        self.finite = True

    def state(self, runner: Runner) -> dict[str, torch.Tensor]:
        found = dict(unwrap(runner.model).state_dict())
        for number, state in enumerate(runner.optim_wrapper.optimizer.state.values()):
            found |= {f'optimizer.{number}.{name}': x for name, x in state.items()}
        return {name: x.clone() for name, x in found.items()}

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        model = unwrap(runner.model)
        if runner.iter % self.window == 0:
            self.before = self.state(runner)
        if runner.iter not in self.iterations or get_rank() != self.rank:
            return
        original = model.loss
        if self.kind == 'gradients':
            parameter = next(p for p in model.parameters() if p.requires_grad)
            self.handle = parameter.register_hook(lambda grad: grad * float('nan'))

        def spoilt(inputs: Any, data_samples: Any = None) -> dict[str, torch.Tensor]:
            if self.kind == 'images':
                inputs['anchor'].images[0] = float('nan')
            terms = original(inputs, data_samples)
            if self.kind == 'loss':
                terms['loss_csr'] = terms['loss_csr'] + float('inf')
            return terms

        model.loss = spoilt

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        model = unwrap(runner.model)
        if 'loss' in vars(model):
            del model.loss
            if self.kind == 'gradients':
                self.handle.remove()
        window = runner.iter // self.window
        last = runner.iter % self.window == self.window - 1
        if last and window in {iteration // self.window for iteration in self.iterations}:
            self.skipped.append(runner.iter)
            after = self.state(runner)
            assert self.before.keys() <= after.keys()
            for name, value in after.items():
                self.finite &= bool(value.isfinite().all())
                was = self.before.get(name, torch.zeros_like(value))
                # Bit by bit, but for the sign of a zero.
                if not torch.equal(was, value):
                    self.unequal.append(name)


def poisoned(
    case: Case, folder: str, kind: str, iterations: tuple, rank: int = 0, changes: Any = None
) -> dict[str, Any]:
    """Train a case with bad micro-batches; what was different after them, and the end."""
    torch.set_default_dtype(torch.float64)
    try:
        runner = runs.build_runner(case, Path(folder), dict(changes or {}))
        poison = Poison(kind, iterations, rank, max(1, case.accumulated))
        runner.register_hook(poison, priority='LOWEST')
        recorder = next(hook for hook in runner.hooks if isinstance(hook, runs.Recorder))
        recorder.steps = STEPS
        with pytest.raises(runs.EnoughError):
            runner.train()
    finally:
        torch.set_default_dtype(torch.float32)
    model = unwrap(runner.model)
    return {
        'unequal': poison.unequal,
        'skipped': poison.skipped,
        'finite': poison.finite,
        'steps': int(getattr(model.expert, 'steps', 0)),
        'student': runs.summary([p for p in model.parameters() if p.requires_grad]),
        'expert': runs.state(model.expert),
    }


def on_device(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Take the way of a GPU on the CPU; its fused AdamW knows the flag, too."""
    monkeypatch.setattr(skipping, 'readable', lambda flag: False)
    return {'optim_wrapper.optimizer.fused': True}


@pytest.mark.sampled(2)
@pytest.mark.parametrize('device', ['host', 'device'])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'case',
    [Case('saip'), Case('saip', accumulated=3), Case('saip', 'test_resnet'), Case('saip-star')],
    ids=lambda case: case.name,
)
def test_a_poisoned_step_moves_nothing(case, kind, device, tmp_path, monkeypatch):
    changes = on_device(monkeypatch) if device == 'device' else {}
    found = poisoned(case, str(tmp_path), kind, (1, 3), changes=changes)
    assert found['skipped'] == ([2, 5] if case.accumulated else [1, 3])
    assert found['unequal'] == []
    assert found['finite']
    if case.preset != 'saip-star':
        assert found['steps'] == (0 if case.accumulated else STEPS - 2)


@pytest.mark.slow
def test_both_ways_compute_the_same(tmp_path, monkeypatch):
    for case in (Case('saip'), Case('saip', 'test_resnet')):
        host = poisoned(case, str(tmp_path / 'host'), 'images', (2,))
        with monkeypatch.context() as patch:
            device = poisoned(
                case, str(tmp_path / 'device'), 'images', (2,), changes=on_device(patch)
            )
        for name in ('student', 'expert'):
            assert device[name] == pytest.approx(host[name], rel=1e-10, abs=1e-10)


@pytest.mark.dist
@pytest.mark.parametrize(
    ('kind', 'accumulated'),
    [
        ('loss', 3),
        pytest.param('loss', 0, marks=pytest.mark.slow),
        pytest.param('gradients', 0, marks=pytest.mark.slow),
        pytest.param('gradients', 3, marks=pytest.mark.slow),
    ],
)
def test_what_one_process_finds_all_of_them_skip(kind, accumulated, tmp_path):
    case = Case('saip', processes=2, accumulated=accumulated)
    rows = in_processes(2, tmp_path, poisoned, case, str(tmp_path), kind, (1,), 1)
    assert rows[0] == rows[1]
    assert rows[0]['unequal'] == []
    assert rows[0]['steps'] == (1 if accumulated else STEPS - 1)
    lines = [json.loads(x) for x in (tmp_path / 'work' / FILE).read_text().splitlines()]
    assert [line['rank'] for line in lines] == [0, 1]
    assert [line['own_loss'] for line in lines] == [False, kind == 'loss']
    terms = ['loss_csr'] if kind == 'loss' else ['gradients']
    assert all(line['not_finite'] == terms for line in lines)
    # One micro-batch is to blame, or nobody knows which.
    assert len(lines[1]['samples']) == 3 * (3 if accumulated and kind != 'loss' else 1)


@pytest.mark.slow
@pytest.mark.dist
def test_statistics_of_all_processes_stay_where_they_were(tmp_path):
    case = Case('saip', 'test_resnet', processes=2)
    rows = in_processes(2, tmp_path, poisoned, case, str(tmp_path), 'images', (1,), 1)
    assert rows[0] == rows[1]
    assert rows[0]['unequal'] == []
    assert rows[0]['skipped'] == [1]


@pytest.mark.sampled(2)
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('device', ['host', 'device'])
def test_the_release_stays_finite(kind, device, tmp_path, monkeypatch):
    changes = on_device(monkeypatch) if device == 'device' else {}
    case = Case('saip-official', accumulated=2)
    found = poisoned(case, str(tmp_path), kind, (1, 4), changes=changes)
    assert found['finite']
    moved = {name.split('.')[0] for name in found['unequal']}
    assert moved <= {'expert', 'objectives'}  # the center
    assert all('center' in name for name in found['unequal'] if name.startswith('objectives'))


def test_an_old_checkpoint_goes_on_and_skips_as_well(tmp_path):
    case = Case('saip')
    stored = tmp_path / 'epoch_2.pth'
    stored.write_bytes(lzma.decompress((old.FOLDER / 'saip_vit_epoch.pth.xz').read_bytes()))
    resume = dict(resume=True, load_from=str(stored))
    found = runs.run(case, tmp_path / 'whole', **resume)
    recorded = json.loads(RECORDING.read_text())['runs'][case.name]
    assert len(found['losses']) == 10
    for row, expected in zip(found['losses'], recorded['losses'][10:], strict=True):
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-10, abs=1e-10), name
    assert found['expert'] == pytest.approx(recorded['expert'], rel=1e-10, abs=1e-10)
    skipping_run = poisoned(case, str(tmp_path / 'bad'), 'loss', (11,), changes=resume)
    assert skipping_run['skipped'] == [11]
    assert skipping_run['unequal'] == []
    assert skipping_run['steps'] == 10 + STEPS - 1


class Mean(BaseModel):
    """A model of another library that trains on canvases, with a statistic of its own."""

    def __init__(self, bad: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.bad = bad
        self.iteration = 0

    def forward(self, canvas, mode, **rest):
        self.iteration += 1
        values = self.norm(canvas.float().mean((1, 2, 3))[:, None])
        factor = float('nan') if self.iteration in self.bad else 1.0
        return {'loss': factor * (values**2).mean(), 'level': values.detach().mean() * factor}


def plain(tmp_path, bad, interval=2, clip=None, batch=10, **changes) -> Runner:
    """Train on 90 files."""
    folder = tmp_path / 'set'
    dataset = dict(type='saip.PersonImages', data_root=str(folder), canvas=(8, 4))
    if not folder.exists():
        make_set(folder, 90, set())
    options = dict(
        work_dir=str(tmp_path / 'work'),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        experiment_name=f'{tmp_path.name}_{len(changes)}',
    )
    runner = Runner(
        model=Mean(bad),
        train_dataloader=dict(
            batch_size=batch,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=dataset,
        ),
        optim_wrapper=dict(
            type='saip.AutocastOptimWrapper',
            dtype='float32',
            optimizer=dict(type='SGD', lr=0.1),
            clip_grad=clip,
        ),
        default_hooks=dict(
            runtime_info=dict(type='saip.AsyncRuntimeInfoHook'),
            logger=dict(type='LoggerHook', interval=interval),
            checkpoint=dict(type='saip.AtomicCheckpointHook', interval=1),
        ),
        **options | changes,
    )
    runner.train()
    return runner


@pytest.mark.parametrize('interval', [1, 4, 50])
@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0), dict(type='value', clip_value=1.0)])
def test_the_log_counts_and_names_skipped_steps(clip, interval, tmp_path):
    runner = plain(tmp_path, bad=(2, 3, 6), interval=interval, clip=clip)
    hub = runner.message_hub
    assert hub.get_scalar('train/skipped_steps').current() == 3
    for name, history in hub.log_scalars.items():
        assert all(math.isfinite(value) for value in history.data[0]), name
    assert len(hub.get_scalar('train/loss').data[0]) == 6
    log = next((tmp_path / 'work').rglob('*.log')).read_text()
    names = ', '.join(f'{number:04d}.jpg' for number in range(10, 20))
    assert f'step skipped at iteration 2 (loss not finite; samples: {names})' in log
    assert log.count('step skipped at') == 3
    lines = [json.loads(x) for x in (tmp_path / 'work' / FILE).read_text().splitlines()]
    assert [line['iterations'] for line in lines] == [[2], [3], [6]]
    assert lines[2]['samples'] == [f'{number:04d}.jpg' for number in range(50, 60)]
    rows = next((tmp_path / 'work').rglob('scalars.json')).read_text().splitlines()
    assert json.loads(rows[-1])['skipped_steps'] == 3
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())
    assert runner.model.norm.num_batches_tracked == 6


@pytest.mark.parametrize('interval', [1, 2, 50])
def test_three_in_a_row_stop_the_run_before_a_checkpoint(interval, tmp_path):
    message = (
        r'3 optimizer steps in a row were skipped, at iteration 4 \(loss .*0030.jpg.*iteration 5 '
        r'.*0040.jpg.*iteration 6 .*skipped_steps.jsonl.*lower learning rate'
    )
    with pytest.raises(NonFiniteLossError, match=message):
        plain(tmp_path, bad=(1, 2, 4, 5, 6), interval=interval)
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_the_count_survives_a_checkpoint(tmp_path):
    plain(tmp_path, bad=(8, 9))
    with pytest.raises(NonFiniteLossError, match='3 optimizer steps in a row'):
        plain(
            tmp_path,
            bad=(1,),
            work_dir=str(tmp_path / 'again'),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            load_from=str(tmp_path / 'work/epoch_1.pth'),
            resume=True,
        )


def test_more_than_ten_files_are_counted_and_listed(tmp_path):
    plain(tmp_path, bad=(1,), batch=15)
    log = next((tmp_path / 'work').rglob('*.log')).read_text()
    assert f'0009.jpg and 5 others, see {FILE})' in log
    (line,) = (tmp_path / 'work' / FILE).read_text().splitlines()
    assert len(json.loads(line)['samples']) == 15


def test_a_healthy_run_says_nothing(tmp_path):
    runner = plain(tmp_path, bad=())
    assert not (tmp_path / 'work' / FILE).exists()
    assert 'train/skipped_steps' not in runner.message_hub.log_scalars
