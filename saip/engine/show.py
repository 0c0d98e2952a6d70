"""Let a test write images of what it predicts."""

from pathlib import Path

from mmengine.config import Config

# Hooks of the libraries: the switch, and where the folder goes; mmsegmentation has no argument
# for it and writes where its visualizer does.
_HOOKS = {
    'DetVisualizationHook': ('draw', 'test_out_dir'),
    'PoseVisualizationHook': ('enable', 'out_dir'),
    'SegVisualizationHook': ('draw', None),
}
_METRICS = ('saip.ReIDMetric', 'saip.TextReIDMetric')


def draw_predictions(cfg: Config, folder: str) -> bool:
    """Make a configuration's test write images to a folder; False if nothing in it can."""
    path = str(Path(folder).resolve())  # the hooks put a relative one below the work_dir
    evaluators = cfg.get('test_evaluator') or []
    drawing = [
        evaluator
        for evaluator in (evaluators if isinstance(evaluators, list) else [evaluators])
        if evaluator.get('type') in _METRICS
    ]
    for evaluator in drawing:
        evaluator.show_dir = path
    hook = (cfg.get('default_hooks') or {}).get('visualization') or {}
    kind = str(hook.get('type')).rpartition('.')[2]
    if kind not in _HOOKS:
        return bool(drawing)
    switch, place = _HOOKS[kind]
    hook[switch] = True
    if place is None:
        cfg.visualizer.save_dir = path
    else:
        hook[place] = path
    return True
