"""How many steps an epoch has: what a checkpoint says of it, and what another number does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from saip.engine.stored_schedules import last_step
from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.models.selfsup import Pretrainer

STEPS_KEY = 'counted_steps'
"""Name of the entry in a checkpoint's meta."""

_NAMES = {
    'steps_per_epoch': 'steps per epoch',
    'images': 'images',
    'batch_size': 'images per process and step',
    'processes': 'processes',
    'accumulated': 'accumulated steps',
}


def counted_steps(runner: Runner) -> dict[str, int] | None:
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
    }


def compare_steps(runner: Runner, checkpoint: Mapping[str, Any]) -> bool:
    """Tell a resumed run that its epochs have other steps than those before.

    What counts steps has counted those of the checkpoint: a learning rate by steps, and the
    momentum of an expert. As many images per step in another division among processes are no
    difference.

    Returns:
        Whether there was something to tell.

    Raises:
        InputError: a pretraining has done more steps than the whole run has now, so that the
            momentum of the expert would be past its end in every step that is left.
    """
    meta = checkpoint.get('meta', {})
    then, now = meta.get(STEPS_KEY), counted_steps(runner)
    if not isinstance(then, Mapping) or now is None or _same_steps(then, now):
        return False
    done = meta.get('iter', 0)
    if _is_finished(runner, meta):
        return False
    differences = ', '.join(
        f'{then.get(key)} {name} then and {now[key]} now'
        for key, name in _NAMES.items()
        if then.get(key) != now[key]
    )
    model = unwrap(runner.model)
    if done >= runner.max_iters and isinstance(model, Pretrainer):
        raise InputError(
            f'the checkpoint was trained with {differences}. It has done {done} steps, and the '
            f'whole run has {runner.max_iters} now: momentum and learning rate would be past '
            'their ends in all that is left. Resume with the former batch size, processes and '
            'images, or begin a new run from these weights (model.init_from)'
        )
    effects = [_of_rate(runner, checkpoint)]
    if isinstance(model, Pretrainer) and model.expert is not None:
        effects.append(f'The momentum is that of step {done} of {runner.max_iters} from now on')
    runner.logger.warning(
        f'the checkpoint was trained with {differences}. {". ".join(effects)}. To continue as '
        'planned resume with the former batch size, processes, accumulation and images'
    )
    return True


def _is_finished(runner: Runner, meta: Mapping[str, Any]) -> bool:
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return meta.get('epoch', 0) >= runner.max_epochs
    return meta.get('iter', 0) >= runner.max_iters


def _same_steps(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether steps hold as many images and epochs as many steps, on any number of processes."""
    keys = ('steps_per_epoch', 'images', 'accumulated')
    together = [x.get('batch_size', 0) * x.get('processes', 1) for x in (then, now)]
    return together[0] == together[1] and all(then.get(key) == now[key] for key in keys)


def _of_rate(runner: Runner, checkpoint: Mapping[str, Any]) -> str:
    """What the learning rate of a resumed run does, by the stored schedules."""
    planned = last_step(checkpoint)
    if planned is None:
        return 'The learning rate counts epochs and goes on as planned'
    meta, per_epoch = checkpoint.get('meta', {}), len(runner.train_loop.dataloader)
    last = runner.max_iters
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        left = runner.max_epochs - meta.get('epoch', 0)
        last = meta.get('iter', 0) + left * per_epoch
    said = f'The learning rate was planned for {planned} steps and gets {last}'
    if last < planned:
        return f'{said}: it stops at {100 * last / planned:.0f} % of its schedule'
    if last > planned:
        return f'{said}: it reaches its end {last - planned} steps before the run does'
    return f'{said}: it ends with the run, by other steps than were planned'
