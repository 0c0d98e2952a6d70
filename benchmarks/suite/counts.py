"""What can be counted of a step without a GPU: started kernels, kept memory, operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from saip.analysis.step_flops import step_cost
from saip.engine import amp
from saip.models.ops import activated_linear, attention, layer_norm
from saip.views import ways
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
IMAGES = 2
"""Images of the step whose kernels are counted; with more of them only scenes take more."""
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
H100_BANDWIDTH, H100_FLOPS = 3.35e12, 790e12
"""Bytes a second of its memory as NVIDIA states it, and bfloat16 operations that it reaches."""


class Kernels(TorchDispatchMode):
    """Counts the operations that compute something, by name.

    On a GPU most of them start one kernel, matrix products and reductions sometimes two or three,
    operations on lists of tensors one for several.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Whether compiled functions run as such while this counts what they leave to torch."""
        return True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        out = func(*args, **(kwargs or {}))
        if not func.is_view and not name.startswith(WITHOUT_KERNEL):
            self.found[name] += self.cost((args, kwargs, out))
        return out

    def cost(self, values: Any) -> int:
        """What one operator on such values counts."""
        return 1


class Traffic(Kernels):
    """Counts bytes: operands are read once, results written once."""

    def cost(self, values: Any) -> int:
        """Bytes of all tensors; an expanded one is read as it lies in memory."""
        return traffic_of(values)


def traffic_of(values: Any) -> int:
    """Bytes of the tensors among nested values."""
    tensors = (x for x in tree_leaves(values) if isinstance(x, Tensor))
    return sum(min(x.nbytes, x.untyped_storage().nbytes()) for x in tensors)


def measure(sizes: Sizes) -> Part:
    """All counts."""
    cfg = model_config('saip', sizes.encoder)
    flops = sum(step_cost(cfg).flops.values())
    figures = [
        kernels(cfg),
        traffic(cfg, flops),
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


def kernels(cfg: Any) -> Figure:
    """Operations that start kernels, without compilation."""
    with as_on_a_gpu():
        return figure_of(kernels_by_part(cfg), 'kernels', 'without compilation')


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """No maps of attention and no GELU in memory, norms, views, convolutions as a GPU's."""
    with (
        mock.patch.object(attention, 'SHORT', {}),
        mock.patch.object(activated_linear, 'KEEPING', ()),
        mock.patch.object(layer_norm, 'WIDENING', ()),
        mock.patch.object(amp, 'stays_in_float32', return_value=False),
        mock.patch.object(ways, 'OF_A_CPU', ()),
    ):
        yield


def kernels_by_part(
    cfg: Any,
    generated: Callable[[], int] = lambda: 0,
    mode: type[Kernels] = Kernels,
    count: int = IMAGES,
) -> dict[str, Counter[str]]:
    """Operations that start kernels in a step, or their bytes, by part and name.

    Args:
        cfg: of the model.
        generated: how many kernels a compiler's code has started so far, or their bytes.
        mode: what is counted.
        count: images of the step.
    """
    model = build(cfg)
    wrapper, data = wrapper_of(model, 'bfloat16'), images(count)
    parts: dict[str, Counter[str]] = {}

    @contextmanager
    def counted(name: str) -> Iterator[None]:
        before = generated()
        with mode() as found:
            yield
        parts[name] = found.found + Counter(generated=generated() - before)

    for number in range(2):  # the first step makes the optimizer's state
        model.begin_step(progress_of(number))
        with wrapper.optim_context(model):
            with counted('views'):
                prepared = model.data_preprocessor(data, training=True)
            with counted('forward'):
                loss = total(model(**prepared, mode='loss'))
        with counted('backward'):
            wrapper.backward(loss)
        with counted('update'):
            wrapper.step()
        wrapper.zero_grad()
    return parts


def figure_of(parts: dict[str, Counter[str]], name: str, how: str) -> Figure:
    """The count of a step."""
    together = sum(parts.values(), Counter())
    frequent = ', '.join(f'{n} {name}' for name, n in together.most_common(6))
    shares = ', '.join(f'{part} {found.total()}' for part, found in parts.items())
    return Figure(
        name,
        f'operations of a step that start kernels, {how}',
        together.total(),
        '',
        goal='2,667, a third of 8,001',
        note=f'{shares}; most: {frequent}',
        group=GROUP,
    )


def traffic(cfg: Any, flops: float) -> Figure:
    """Bytes that the operators of a step move, without compilation."""
    with as_on_a_gpu():
        few, many = (kernels_by_part(cfg, mode=Traffic, count=n) for n in (IMAGES, 2 * IMAGES))
    return traffic_figure(few, many, flops, 'traffic', 'without compilation')


def traffic_figure(
    few: dict[str, Counter[str]],
    many: dict[str, Counter[str]],
    flops: float,
    name: str,
    how: str,
) -> Figure:
    """Bytes of an image in a step of 256, and the speeds that they and the arithmetic allow.

    Args:
        few: bytes of a step of ``IMAGES``, by part and operator.
        many: of twice as many.
        flops: operations of an image.
        name: key of the figure.
        how: what is special about the step.
    """
    each = {part: (many[part].total() - few[part].total()) / IMAGES for part in few}
    fixed = sum(found.total() for found in few.values()) - IMAGES * sum(each.values())
    moved = sum(each.values()) + fixed / 256
    shares = ', '.join(f'{part} {bytes_ / 1e6:.0f} MB' for part, bytes_ in each.items())
    return Figure(
        name,
        f'memory traffic of an image in a step of 256, {how}',
        moved / 1e6,
        'MB',
        note=f'{shares}; operands and results of every kernel once; an H100 with '
        f'{H100_BANDWIDTH / 1e12:.2f} TB/s could move {H100_BANDWIDTH / moved:,.0f} images/s, and '
        f'compute {H100_FLOPS / flops:,.0f} at {H100_FLOPS / 1e12:.0f} TFLOP/s',
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
    hooks = saved_tensors_hooks(keep, lambda x: x)
    with as_on_a_gpu(), hooks, torch.autocast('cpu', torch.bfloat16):
        loss = total(model(views, mode='loss'))
    del loss
    return sum(x.untyped_storage().nbytes() for x in kept.values())
