"""What is looked at once a runner is built, before its first step."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.runner import Runner

from saip.checkpoint import CheckpointError, load_checkpoint_file
from saip.engine.class_counts import compare_class_counts
from saip.engine.explain import explain_single
from saip.engine.keypoint_checks import check_all_have_keypoints
from saip.engine.resume import (
    Shapes,
    compare_weights,
    explain_weights,
    own_and_given,
    shapes_of,
)
from saip.engine.schedule_checks import check_schedule
from saip.engine.single_values import single_values, smallest_batch
from saip.errors import StartError


def check_runner(runner: Runner, cfg: Config, shapes: Shapes | None) -> None:
    """Refuse what mmengine would only notice late, or never.

    Args:
        runner: the runner, before its first step.
        cfg: its configuration.
        shapes: those of the weights to resume; None reads them where a run starts from a file.

    Raises:
        CheckpointError: the checkpoint to start from or to resume holds other weights than the
            model has. mmengine would log that and train from what it has.
        StartError: there are fewer images than a batch, one in a batch that needs two, some lack
            the keypoints that masks need, or the schedule does not fit the run.
    """
    if cfg.get('load_from'):
        if shapes is None:
            shapes = shapes_of(load_checkpoint_file(cfg.load_from))
        compare_model(runner, cfg, shapes, cfg.load_from)
    loader = runner.train_loop.dataloader
    if smallest_batch(loader) == 1 and any(single_values(runner.model)):
        raise StartError(explain_single(cfg, 'train_dataloader'))
    if len(loader) == 0:
        raise StartError(
            f'the training set has {len(loader.dataset)} samples, fewer than one batch of '
            f'{loader.batch_sampler.batch_size} per process; lower train_dataloader.batch_size'
        )
    check_all_have_keypoints(loader.dataset, cfg)
    check_schedule(runner, resumed=bool(cfg.get('resume') and cfg.get('load_from')))


def compare_model(
    runner: Runner, cfg: Config, shapes: Shapes, path: str, testing: bool = False
) -> None:
    """Compare a checkpoint's weights with the model's.

    Args:
        runner: the runner, whose model is built.
        cfg: its configuration.
        shapes: of the checkpoint's weights.
        path: the checkpoint.
        testing: the weights are to be tested, not to train from.

    Raises:
        CheckpointError: they differ; names the option or the variable that chooses what does.
    """
    own, given = own_and_given(runner.model, shapes)
    compare_class_counts(own, given, cfg.get('model'), path)
    try:
        compare_weights(own, given, path)
    except CheckpointError as error:
        said = explain_weights(own, given, cfg, testing)
        raise CheckpointError(f'{error}{said}') from error
