"""Which program a fine-tuned model has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from saip.checkpoint import CheckpointError
from saip.deploy.program import Program
from saip.deploy.tasks.classification import attribute_program, reid_program
from saip.deploy.tasks.detection import detection_program
from saip.deploy.tasks.finetuned import Finetuned, load_finetuned
from saip.deploy.tasks.parts import part_program
from saip.deploy.tasks.pose import pose_program
from saip.deploy.tasks.text_reid import text_reid_programs
from saip.structures import Grid

Maker = Callable[[Finetuned, Grid | None], list[Program]]


@dataclass(frozen=True)
class Kind:
    """A task that can be exported.

    Attributes:
        part: where its type stands in ``model``: a key, or empty for the model itself.
        type: of that part, without its scope.
        package: module that registers its parts.
        make: its programs.
    """

    part: str
    type: str
    package: str
    make: Maker


KINDS = (
    Kind('head', 'BNNeckHead', 'saip.downstream.reid', reid_program),
    Kind('head', 'AttributeHead', 'saip.downstream.attributes', attribute_program),
    Kind('', 'TopdownPoseEstimator', 'saip.downstream.pose', pose_program),
    Kind('', 'SelfCorrectingSegmentor', 'saip.downstream.part_segmentation', part_program),
    Kind('', 'CrowdDet', 'saip.downstream.detection', detection_program),
    Kind('', 'TextReID', 'saip.downstream.text_reid', text_reid_programs),
)

REGIONS = (
    "cannot be exported: mmdet's heads decide on the way which regions mmcv's RoIAlign and nms cut "
    'out of the maps, which has no ONNX form'
)
REFUSED = {
    'ParsingRoIHead': f'human parsing {REGIONS}',
    'KERoIHead': f'part attributes {REGIONS}',
}
"""RoI heads of the tasks that cannot be exported, with the reason."""


def task_programs(
    checkpoint: dict[str, Any], config: dict[str, Any], size: Grid | None
) -> list[Program]:
    """Make the programs of a fine-tuned model.

    Args:
        checkpoint: as :func:`saip.checkpoint.load_checkpoint_file` gives it.
        config: its configuration.
        size: (height, width) of the images; None takes that of the training.

    Raises:
        InputError: the size does not fit.
        CheckpointError: its task cannot be exported, the model cannot be built, or its weights are
            others.
    """
    model = config['model']
    types = {'': _bare(model), 'head': _bare(model.get('head') or {})}
    for kind in KINDS:
        if types[kind.part] == kind.type:
            return kind.make(load_finetuned(checkpoint, config, kind.package), size)
    other = f'a model of type {types[""]} is none of the tasks that can be exported'
    raise CheckpointError(REFUSED.get(_bare(model.get('roi_head') or {}), other))


def _bare(cfg: dict[str, Any]) -> str:
    """Type of a part without its scope."""
    return str(cfg.get('type', '')).rpartition('.')[2]
