"""How many steps an epoch has: what a checkpoint says of it, and what another number does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner

from saip.engine.other_steps import follow_images

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


def compare_steps(runner: Runner, checkpoint: dict[str, Any]) -> bool:
    """Tell a resumed run that its epochs have other steps than those before, and let it follow.

    A run by epochs goes on at the same share of its images, see
    :func:`saip.engine.other_steps.follow_images`. A run by iterations has its length in steps, and
    its schedules end with it whatever the steps hold. As many images per step in another division
    among processes are no difference.

    Returns:
        Whether there was something to tell.

    Raises:
        InputError: schedules that count steps cannot follow.
    """
    meta = checkpoint.get('meta', {})
    now = counted_steps(runner)
    then = meta.get(STEPS_KEY, _of_its_epochs(meta, now))
    if not isinstance(then, Mapping) or now is None or _same_steps(then, now):
        return False
    if _is_finished(runner, meta):
        return False
    differences = ', '.join(
        f'{then.get(key)} {name} then and {now[key]} now'
        for key, name in _NAMES.items()
        if then.get(key) != now[key]
    )
    lengths = then['steps_per_epoch'], now['steps_per_epoch']
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        effect = f'This run ends after {runner.max_iters} steps, as its schedules do'
    elif lengths[0] != lengths[1]:
        effect = follow_images(runner, checkpoint, *lengths)
    else:
        effect = 'The steps of an epoch are as many, and schedules count them'
    runner.logger.warning(f'the checkpoint was trained with {differences}. {effect}')
    return True


def _of_its_epochs(
    meta: Mapping[str, Any], now: dict[str, int] | None
) -> dict[str, int] | None:
    """Steps per epoch of a checkpoint from before they were stored, written after an epoch."""
    epoch, step = meta.get('epoch', 0), meta.get('iter', 0)
    if now is None or not epoch or step % epoch:
        return None
    return {**now, 'steps_per_epoch': step // epoch}


def _is_finished(runner: Runner, meta: Mapping[str, Any]) -> bool:
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return meta.get('epoch', 0) >= runner.max_epochs
    return meta.get('iter', 0) >= runner.max_iters


def _same_steps(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether steps hold as many images and epochs as many steps, on any number of processes."""
    keys = ('steps_per_epoch', 'images', 'accumulated')
    together = [x.get('batch_size', 0) * x.get('processes', 1) for x in (then, now)]
    return together[0] == together[1] and all(then.get(key) == now[key] for key in keys)
