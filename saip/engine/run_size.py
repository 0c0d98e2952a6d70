"""How many steps an epoch has: what a checkpoint says of it, and what another number does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.models.selfsup import Pretrainer

SIZE_KEY = 'run_size'
"""Name of the entry in a checkpoint's meta."""

_NAMES = {
    'steps_per_epoch': 'steps per epoch',
    'images': 'images',
    'batch_size': 'images per process and step',
    'processes': 'processes',
    'accumulated': 'accumulated steps',
}


def run_size(runner: Runner) -> dict[str, int] | None:
    """What the number of steps follows from; None for a run that does not train."""
    if not isinstance(runner._train_loop, BaseLoop):
        return None
    loader = runner.train_loop.dataloader
    batch = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 0)
    wrapper = runner.cfg.get('optim_wrapper') or {}
    return {
        'steps_per_epoch': len(loader),
        'images': len(loader.dataset),
        'batch_size': int(batch),
        'processes': get_world_size(),
        'accumulated': int(wrapper.get('accumulative_counts') or 1),
        'planned_steps': runner.max_iters,
    }


def compare_sizes(runner: Runner, meta: Mapping[str, Any]) -> None:
    """Tell a resumed run that its epochs have other steps than those before.

    Learning rate and momentum count steps, and those of the checkpoint are already counted. As
    many images per step in another division among processes are no difference.

    Raises:
        InputError: the checkpoint has done more steps than the whole run has now, so that the
            momentum of the expert would be past its end in every step that is left.
    """
    then, now = meta.get(SIZE_KEY), run_size(runner)
    if not isinstance(then, Mapping) or now is None:
        return
    if all(_of_a_step(then)[key] == value for key, value in _of_a_step(now).items()):
        return
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    passed = (
        (meta.get('epoch', 0), runner.max_epochs)
        if by_epoch
        else (meta.get('iter', 0), runner.max_iters)
    )
    if passed[0] >= passed[1]:  # nothing is left to train
        return
    differences = ', '.join(
        f'{then.get(key)} {name} then and {now[key]} now'
        for key, name in _NAMES.items()
        if then.get(key) != now[key]
    )
    done, planned = meta.get('iter', 0), runner.max_iters
    if done >= planned and isinstance(unwrap(runner.model), Pretrainer):
        raise InputError(
            f'the checkpoint was trained with {differences}. It has done {done} steps, and the '
            f'whole run has {planned} now: momentum and learning rate would be past their ends '
            'in all that is left. Resume with the former batch size, processes and images, or '
            'begin a new run from these weights (model.init_from)'
        )
    runner.logger.warning(
        f'the checkpoint was trained with {differences}. '
        f'{_consequence(runner, then, now, meta)}; to go on as planned resume with the former '
        'batch size, processes, accumulation and images'
    )


def _of_a_step(size: Mapping[str, Any]) -> dict[str, Any]:
    together = size.get('batch_size', 0) * size.get('processes', 1)
    names = ('steps_per_epoch', 'images', 'accumulated')
    return {'together': together, **{name: size.get(name) for name in names}}


def _consequence(
    runner: Runner, then: Mapping[str, Any], now: Mapping[str, Any], meta: Mapping[str, Any]
) -> str:
    """What the schedules of a resumed run do, in words."""
    if runner.train_loop.max_epochs <= 1 or then['steps_per_epoch'] == now['steps_per_epoch']:
        return 'The schedules go on as they are: they count steps, not images'
    planned = then.get('planned_steps') or runner.max_epochs * then['steps_per_epoch']
    left = max(0, runner.max_epochs - meta.get('epoch', 0)) * now['steps_per_epoch']
    last = meta.get('iter', 0) + left
    if last == planned:
        return 'The learning rate ends with the run; on the way it is another than was planned'
    if last < planned:
        return (
            f'The learning rate was planned for {planned} steps and gets {last}: it stops at '
            f'{100 * last / planned:.0f} % of its schedule and never reaches the end; the '
            'momentum jumps ahead'
        )
    return (
        f'The learning rate was planned for {planned} steps and gets {last}: it reaches its end '
        f'{last - planned} steps before the run does and stays there; the momentum falls back'
    )
