"""The benchmark: what it measures, and what it says of int8."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from saip.deploy import benchmark
from saip.deploy.benchmark import Row, Speed, table, verdicts
from saip.deploy.plot import draw_benchmark
from tests.tools import call_tool

from .small import VIT, backbone_file

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')


def row(name: str, int8: bool, one: float, eight: float, **accuracy: float) -> Row:
    speeds = [Speed(1, 1, one, 2 * one), Speed(1, 8, eight, 2 * eight)]
    return Row(name, 'ONNX Runtime', int8, 'abc', 4.0, None, accuracy, speeds)


def test_it_says_where_int8_loses():
    plain = row('float.onnx', False, 10.0, 80.0, mAP=60.0)
    slow = row('slow.onnx', True, 12.5, 40.0, mAP=60.0)
    fast = row('fast.onnx', True, 5.0, 80.0, mAP=60.0)
    worse = row('worse.onnx', True, 5.0, 40.0, mAP=59.5)
    found = verdicts([plain, slow, fast, worse])
    assert found == [
        'slow.onnx against float.onnx in ONNX Runtime: int8 loses speed: slower by 25 % (1 '
        'thread, batch 1), 2.00 times as fast (1 thread, batch 8), mAP +0.0 points',
        'fast.onnx against float.onnx in ONNX Runtime: int8 wins: 2.00 times as fast (1 thread, '
        'batch 1), as fast (1 thread, batch 8), mAP +0.0 points',
        'worse.onnx against float.onnx in ONNX Runtime: int8 loses accuracy: 2.00 times as '
        'fast (1 thread, batch 1), 2.00 times as fast (1 thread, batch 8), mAP -0.5 points',
    ]


def test_the_table_has_a_cell_for_everything():
    plain = row('float.onnx', False, 10.0, 80.0, **{'mAP': 60.0, 'Rank-1': 70.0})
    fixed = Row(
        'fixed.onnx', 'ONNX Runtime', False, 'abc', 4.0, 12.3, {}, [Speed(1, 1, 4.0, 5.0)]
    )
    lines = table([plain, fixed]).splitlines()
    assert lines[2] == (
        '| float.onnx | ONNX Runtime | 4.0 | - | 10.0 (20.0) | 100 | 80.0 (160.0) | 100 | 60.0 '
        '| 70.0 |'
    )
    assert lines[3].endswith('| 12 | 4.0 (5.0) | 250 | - | - | - | - |')
    assert len({line.count('|') for line in lines}) == 1


def test_a_file_without_a_metric_has_no_height(monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, file, **_: drawn.append(self))
    plain = row('float.onnx', False, 10.0, 80.0, mAP=60.0)
    draw_benchmark([plain, row('fixed.onnx', False, 4.0, 80.0)])
    (axes,) = drawn[0].axes
    points = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert points['fixed.onnx, ONNX Runtime, no mAP'] == [[4.0, 0.0], [4.0, 1.0]]  # of the axes
    assert [10.0, 60.0] in [point for found in points.values() for point in found]
    assert axes.get_ylim()[0] > 50


def test_the_plot_is_an_image():
    assert draw_benchmark([row('x.onnx', True, 1.0, 8.0)]).startswith(b'\x89PNG')


@pytest.mark.slow
def test_files_are_measured_side_by_side(checkpoints, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'encoder.onnx'
    source = checkpoints['vit']
    assert call_tool(monkeypatch, 'export_model.py', source, out, '--dynamic-batch') == 0
    monkeypatch.setattr(benchmark, 'peak_memory', lambda path: 12.0)  # two processes
    options = ['--repeats', 3, '--batches', 1, 2, '--out', tmp_path / 'results']
    assert call_tool(monkeypatch, 'benchmark_model.py', source, out, *options) == 0
    found = json.loads((tmp_path / 'results/benchmark.json').read_text())
    torch_row, onnx_row = found['rows']
    assert (torch_row['runtime'], onnx_row['runtime']) == ('PyTorch', 'ONNX Runtime')
    assert torch_row['source'] == onnx_row['source']
    assert onnx_row['megabytes'] == pytest.approx(out.stat().st_size / 1e6)
    assert torch_row['accuracy']['mAP'] == pytest.approx(onnx_row['accuracy']['mAP'], abs=0.1)
    for each in (torch_row, onnx_row):
        assert {speed['batch'] for speed in each['speeds']} == {1, 2}
        assert all(0 < speed['median'] <= speed['percentile95'] for speed in each['speeds'])
        assert each['memory'] == 12.0
    assert 'encoder.onnx' in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / 'results').iterdir())
    assert names == ['benchmark.json', 'benchmark.md', 'benchmark.png']
    half = tmp_path / 'half.onnx'
    half.write_bytes(out.read_bytes()[:4000])
    for path, message in ((half, 'half.onnx: damaged'), (Path('no.onnx'), 'no.onnx: no such')):
        code = call_tool(
            monkeypatch, 'benchmark_model.py', source, path, '--out', tmp_path / 'other'
        )
        assert code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / 'other').exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='only Linux tells')
def test_a_larger_network_needs_more_memory(checkpoints, tmp_path, monkeypatch):
    """A network of 20 MB beside one of less than 1 MB."""
    wide = dict(embed_dims=384, num_layers=3, num_heads=6, feedforward_channels=1536)
    large = backbone_file(tmp_path, {**VIT, 'arch': wide})
    needs = [benchmark.peak_memory(path) for path in (checkpoints['vit'], large)]
    assert 0 < needs[0] < needs[1]
    assert needs[1] > 15
