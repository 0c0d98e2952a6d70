"""Write bare backbones beside the checkpoints while training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import weights_to_cpu

from saip.checkpoint import describe_training, export_backbone
from saip.engine.atomic_backend import NO_ROOM
from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.registry import HOOKS

EXPORT_FOLDER = 'backbones'
"""Where the files lie, in the work directory of a run."""


@HOOKS.register_module()
class ExportBackboneHook(Hook):
    """Export the backbone every some epochs and at the end.

    The files lie in ``WORK_DIR/backbones`` and are never pruned: a curve of downstream quality
    over pretraining epochs needs all of them.

    Args:
        interval: epochs between exports.
        which: ``student`` or ``expert``.
    """

    priority = 'LOWEST'

    def __init__(
        self, interval: int = 50, which: Literal['student', 'expert'] = 'student'
    ) -> None:
        if interval < 1:
            raise InputError(f'ExportBackboneHook interval={interval}: at least 1')
        self.interval = interval
        self.which = which

    def before_train(self, runner: Runner) -> None:
        """Refuse an expert that cannot be exported now and not at the first export.

        Raises:
            InputError: the expert to export is in no checkpoint.
        """
        expert = unwrap(runner.model).expert
        if self.which == 'expert' and expert is None:
            raise InputError(
                "ExportBackboneHook which='expert': this run has none (model.expert is None); "
                "which='student' exports what is trained"
            )
        if self.which == 'expert' and not expert.is_average:
            raise InputError(
                "ExportBackboneHook which='expert': the expert of this run is frozen and stays "
                "what model.expert.checkpoint holds; which='student' exports what is trained"
            )

    def after_train_epoch(self, runner: Runner) -> None:
        """Export after every ``interval``-th epoch and after the last."""
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self.export(runner, epoch=runner.epoch + 1)

    @master_only
    def export(self, runner: Runner, epoch: int) -> None:
        """Write the backbone as it is now."""
        model = unwrap(runner.model)
        checkpoint: dict[str, Any] = {
            'state_dict': weights_to_cpu(model.state_dict()),
            'meta': {
                **describe_training(runner.cfg, model.backbone),
                'epoch': epoch,
                'iter': runner.iter,
            },
            'message_hub': {},
        }
        runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        folder = Path(runner.work_dir, EXPORT_FOLDER)
        try:
            path = export_backbone(
                checkpoint, folder, which=self.which, name=f'backbone_epoch_{epoch}'
            )
        except OSError as error:  # the checkpoint before it decides what a full disk does
            if error.errno not in NO_ROOM:
                raise
            runner.logger.error(f'{folder}: {error}; the backbone of epoch {epoch} is missing')
            return
        runner.logger.info(f'The backbone of epoch {epoch} is exported to {path}')
