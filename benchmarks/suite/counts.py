"""What can be counted of a step without a GPU: started kernels, kept memory, operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from saip.analysis.step_flops import step_cost
from saip.models.ops import attention
from suite.figures import Figure, Part
from suite.sizes import Sizes
from suite.step import views_of
from suite.training import (
    COMPILED,
    build,
    images,
    model_config,
    progress_of,
    total,
    wrapper_of,
)

GROUP = 'Counted on a CPU, bfloat16'
WITHOUT_KERNEL = (
    'empty',
    'new_empty',
    'detach',
    'lift_fresh',
    '_local_scalar_dense',
    '_unsafe_view',
)
"""Operations that start no kernel, beside views."""
GIB = 2**30


class Kernels(TorchDispatchMode):
    """Counts the operations that compute something, by name.

    On a GPU most of them start one kernel, matrix products and reductions sometimes two or three,
    operations on lists of tensors one for several.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and not name.startswith(WITHOUT_KERNEL):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def measure(sizes: Sizes) -> Part:
    """All counts."""
    cfg = model_config('saip', sizes.encoder)
    flops = sum(step_cost(cfg).flops.values())
    figures = [
        *kernels(cfg, sizes.batch),
        kept_memory(cfg, sizes),
        Figure(
            'flops',
            'operations of an image by count',
            flops / 1e9,
            'GFLOP',
            note='a multiply-add is two; backward included',
            group=GROUP,
        ),
        Figure.missing(
            'recompilations',
            'recompilations after 50 steps',
            'benchmarks/device.py'
            if COMPILED
            else 'nothing is compiled: the model takes no option `compile`',
            goal='0',
            group=GROUP,
        ),
    ]
    return Part(figures)


def kernels(cfg: Any, batch: int) -> Iterator[Figure]:
    """Operations that start kernels, by part of a step."""
    model = build(cfg)
    wrapper, data = wrapper_of(model, 'bfloat16'), images(batch)
    for number in range(2):  # the first step makes the optimizer's state
        model.begin_step(progress_of(number))
        with wrapper.optim_context(model):
            with Kernels() as views:
                prepared = model.data_preprocessor(data, training=True)
            with Kernels() as forward:
                loss = total(model(**prepared, mode='loss'))
        with Kernels() as backward:
            wrapper.backward(loss)
        with Kernels() as update:
            wrapper.step()
        wrapper.zero_grad()
    parts = dict(views=views, forward=forward, backward=backward)
    together = sum((part.found for part in parts.values()), Counter())
    frequent = ', '.join(f'{n} {name}' for name, n in together.most_common(6))
    yield Figure(
        'kernels',
        'operations that start kernels: views, forward, backward',
        together.total(),
        '',
        goal='a third of the eager step',
        note=f'{", ".join(f"{k} {part.found.total()}" for k, part in parts.items())}; '
        f'most: {frequent}',
        group=GROUP,
    )
    yield Figure(
        'kernels_update',
        'operations of the update',
        update.found.total(),
        '',
        note='a GPU has a fused optimizer, which starts a few',
        group=GROUP,
    )


def kept_memory(cfg: Any, sizes: Sizes) -> Figure:
    """Memory of 256 images by count: what backward keeps grows with the images, the rest stays."""
    model = build(cfg)
    few, many = (kept_bytes(model, n) for n in (sizes.batch, 2 * sizes.batch))
    each = (many - few) / sizes.batch
    weights = sum(x.numel() * x.element_size() for x in model.state_dict().values())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    fixed = weights + 3 * trained + few - sizes.batch * each  # gradients and two moments
    return Figure(
        'kept_memory',
        'memory of a step of 256 images: kept for backward, weights, gradients, moments',
        (256 * each + fixed) / GIB,
        'GiB',
        goal='22 GiB on a GPU, at its peak',
        note=f'{each / 2**20:.1f} MiB an image; buffers of single operations are not in it',
        group=GROUP,
    )


def kept_bytes(model: Any, count: int) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = x  # alive, so that no other gets its place
        return x

    views = views_of(model.data_preprocessor, images(count), 1)
    model.begin_step(progress_of(1))
    before = attention.SHORT
    attention.SHORT = 0  # as on a GPU: no maps in memory
    try:
        with saved_tensors_hooks(keep, lambda x: x), torch.autocast('cpu', torch.bfloat16):
            loss = total(model(views, mode='loss'))
    finally:
        attention.SHORT = before
    del loss
    return sum(x.untyped_storage().nbytes() for x in kept.values())
