"""The parts of ``make benchmark``: that they compare what is equal, and say what they did not."""

import importlib
import json
import subprocess
import sys

import pytest
import torch

from tests.tiny import ROOT

FAST = ('step', 'parts', 'mmpretrain', 'loader', 'counts')


@pytest.fixture(scope='module', autouse=True)
def _path():
    """Where the scripts find each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'benchmarks'))
        patch.setenv('OMP_NUM_THREADS', '1')  # which one of the scripts sets
        patch.setenv('MKL_NUM_THREADS', '1')
        yield
    for name in [n for n in sys.modules if n.split('.')[0] in ('suite', 'machine')]:
        del sys.modules[name]


def load(name: str):
    return importlib.import_module(name)


def test_peers_take_turns_and_the_first_round_does_not_count():
    module, now, called = load('suite.interleaved'), [0.0], []

    def work(name, seconds):
        def run():
            called.append(name)
            now[0] += seconds[called.count(name) - 1]

        return run

    works = {'a': work('a', [9, 1, 2, 4]), 'b': work('b', [9, 2, 2, 2])}
    times = module.interleave(works, rounds=3, clock=lambda: now[0])
    assert called == ['a', 'b', 'b', 'a', 'a', 'b', 'b', 'a']
    assert times.by_name == {'a': [1, 2, 4], 'b': [2, 2, 2]}
    assert times.median('a') == 2
    assert times.ratio('b', 'a') == module.Ratio(1.0, 0.5, 2.0)
    # Parts of a whole are added within a round.
    assert times.ratio(('a', 'b'), 'b') == module.Ratio(2.0, 1.5, 3.0)


WORDY = """
import sys
print('x' * 1_000_000)
print('\\n=> ready', flush=True)
for line in sys.stdin:
    print(f'\\n=> {2 * int(line)}', flush=True)
"""


def test_a_peer_that_nothing_is_asked_of_is_not_held_up_by_what_it_writes(tmp_path):
    """Processes of a group wait for each other while one of them is read."""
    peer = load('suite.peers').Peer(
        [sys.executable, '-c', WORDY + f"open({str(tmp_path / 'end')!r}, 'w')"]
    )
    peer.process.stdin.write('3\n')
    peer.process.stdin.close()
    assert peer.process.wait(timeout=60) == 0
    assert (tmp_path / 'end').exists()
    assert [peer.wait(), peer.wait()] == ['ready', '6']
    with pytest.raises(RuntimeError, match='has ended with 0'):
        peer.wait()


def test_a_report_shows_value_range_goal_and_reason():
    module = load('suite.figures')
    figures = [
        module.Figure('a', 'step', 1.234, low=1.0, high=2.0, goal='at least 1.15 times'),
        module.Figure.missing('b', 'speed', 'no GPU', group='On a GPU'),
    ]
    curve = module.Curve('batch', 'images', 's', [('1', 0.5), ('2', 0.25)])
    part = module.Part(figures, [curve])
    text = module.as_markdown(part, {'cores': 2}, 'Title', 'image.png')
    assert '| step | 1.23 times (1.00 to 2.00) | at least 1.15 times | - |' in text
    assert '## On a GPU' in text
    assert '| speed | not measured | - | no GPU |' in text
    assert '| images | 1 | 2 |\n| --- | --- | --- |\n| s | 0.5 | 0.25 |' in text
    plain = json.loads(json.dumps(module.as_json(part, {'cores': 2})))
    assert plain['figures']['b']['value'] is None
    assert plain['curves']['batch']['points'] == [['1', 0.5], ['2', 0.25]]


def test_a_chart_is_drawn(tmp_path):
    figures, chart = load('suite.figures'), load('suite.chart')
    some = [figures.Figure(n, n, v, low=v / 2) for n, v in (('a', 2.0), ('b', 0.5))]
    curves = [figures.Curve(str(n), 'axis', 's', [('1', 1.0), ('2', 2.0)]) for n in range(4)]
    chart.draw(figures.Part(some, curves), tmp_path / 'chart.png')
    assert (tmp_path / 'chart.png').read_bytes()[:4] == b'\x89PNG'


def test_the_plain_step_must_give_the_same_losses(monkeypatch):
    step, training = load('suite.step'), load('suite.training')
    cfg = training.model_config('saip', 'tiny')
    data = training.images(2)
    assert step.assert_equal(cfg, data) < 1e-7
    plain = load('suite.plain_model')
    usual = plain.attention
    monkeypatch.setattr(plain, 'attention', lambda *inputs: 1.001 * usual(*inputs))
    with pytest.raises(AssertionError):
        step.assert_equal(cfg, data)


@pytest.mark.sampled(2)
@pytest.mark.parametrize('name', FAST)
def test_a_part_measures_tiny_sizes(name):
    benchmark, sizes = load('benchmark'), load('suite.sizes')
    torch.manual_seed(0)
    part = load(benchmark.PARTS[name]).measure(sizes.QUICK)
    values = {figure.name: figure.value for figure in part.figures}
    assert len(values) == len(part.figures) > 2
    assert all(v is None or v > 0 for v in values.values())
    missing = [f.name for f in part.figures if f.value is None]
    assert missing == (['recompilations'] if name == 'counts' else [])


def test_kernels_are_counted_without_views():
    counts = load('suite.counts')
    x = torch.randn(4, 4)
    with counts.Kernels() as mode:
        (x.t().reshape(2, 8).exp() + 1).sum()  # reshape copies
    assert mode.found == {'clone': 1, 'exp': 1, 'add': 1, 'sum': 1}


def test_bytes_of_operators_are_those_of_operands_and_results():
    counts = load('suite.counts')
    x, row = torch.randn(4, 4), torch.randn(4)
    with counts.Traffic() as mode:
        x.mm(x)
        x.add_(row.expand(4, 4))
    assert mode.found == {'mm': 3 * 64, 'add_': 64 + 16 + 64}


def test_without_lightly_train_the_reason_is_said():
    (figure,) = load('suite.lightly').measure(load('suite.sizes').QUICK).figures
    assert figure.value is None
    assert 'lightly_env.py' in figure.note


def test_other_work_of_lightly_train_is_refused():
    lightly = load('suite.lightly')
    side = {'parameters': 27.5e6, 'loss': 11.1}
    lightly.check_same({'ours': side, 'theirs': side})
    for change in ({'parameters': 30e6}, {'loss': 7.0}):
        with pytest.raises(AssertionError, match=next(iter(change))):
            lightly.check_same({'ours': side, 'theirs': side | change})


def test_a_section_that_fails_or_comes_too_late_is_reported():
    device = load('device')

    def fails():
        raise RuntimeError('out of memory\nand a trace')

    (figure,) = device.measured('speed', fails, left=1.0)
    assert (figure.value, figure.note) == (None, 'RuntimeError: out of memory')
    (figure,) = device.measured('speed', fails, left=0.0)
    assert figure.note == 'no time was left'


@pytest.mark.slow
def test_the_whole_benchmark_runs(tmp_path):
    benchmark = load('benchmark')
    assert benchmark.main(['--quick', '--out', str(tmp_path)]) == 0
    found = json.loads((tmp_path / 'benchmark.json').read_text())
    assert set(found['curves']) == {
        *('batch', 'views', 'image_size', 'prototypes', 'encoders', 'processes')
    }
    assert found['figures']['beside_one_busy']['value'] > 0
    assert found['figures']['images_per_second']['value'] is None
    assert (tmp_path / 'benchmark.png').is_file()
    assert '## Cost against work' in (tmp_path / 'benchmark.md').read_text()


@pytest.mark.slow
def test_the_script_for_a_device_runs_on_a_cpu(tmp_path):
    command = ['bash', 'benchmarks/device.sh', 'run', '-', str(tmp_path)]
    options = ['--device', 'cpu', '--quick']
    env = {'PYTHON': sys.executable, 'PATH': '/usr/bin:/bin', 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / 'device.json').read_text())['figures']
    assert figures['speed_tiny_2']['value'] > 0
    assert figures['kernels_2']['value'] > 100
    assert 0 <= figures['data_wait']['value'] <= 100
    assert figures['synchronizations_2']['note'] == 'needs a GPU'
    assert '## Tests marked gpu' in (tmp_path / 'device.md').read_text()
    assert 'torch' in (tmp_path / 'install.txt').read_text()
