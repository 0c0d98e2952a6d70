"""--show-dir reaches what draws, whichever library it belongs to."""

from pathlib import Path

import pytest
from mmengine.config import Config

from saip.engine.show import draw_predictions


@pytest.mark.parametrize(
    ('hook', 'switch', 'place'),
    [
        ('mmdet.DetVisualizationHook', 'draw', 'test_out_dir'),
        ('PoseVisualizationHook', 'enable', 'out_dir'),
        ('mmseg.SegVisualizationHook', 'draw', None),
    ],
)
def test_hooks_of_the_libraries_draw(hook, switch, place):
    cfg = Config(
        dict(default_hooks=dict(visualization=dict(type=hook)), visualizer=dict(type='X'))
    )
    assert draw_predictions(cfg, 'images')
    found = cfg.default_hooks.visualization
    path = str(Path('images').resolve())
    assert found[switch] is True
    assert (cfg.visualizer.save_dir if place is None else found[place]) == path


@pytest.mark.parametrize('several', [False, True])
def test_metrics_draw(several):
    metric = dict(type='saip.ReIDMetric')
    cfg = Config(dict(test_evaluator=[dict(type='Other'), metric] if several else metric))
    assert draw_predictions(cfg, '/images')
    found = cfg.test_evaluator[1] if several else cfg.test_evaluator
    assert found.show_dir == '/images'


def test_nothing_draws():
    assert not draw_predictions(Config(dict(test_evaluator=dict(type='Other'))), 'images')
