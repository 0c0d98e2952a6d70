"""Options of the plain vision transformer."""

from __future__ import annotations

from typing import Literal

from saip.errors import InputError
from saip.models.ops.blocks import is_gain
from saip.models.ops.pos_embed import PosInterp

PosInit = Literal['trunc_normal', 'uniform', 'sincos']
POS_INITS = ('trunc_normal', 'uniform', 'sincos')


def check_options(
    img_size: tuple[int, int],
    patch_size: int,
    pos_interp: PosInterp,
    pos_init: PosInit,
    layer_scale: float,
) -> None:
    """Check what can be told without the blocks.

    Raises:
        InputError: an option is out of its range.
    """
    if any(side % patch_size for side in img_size):
        raise InputError(
            f'img_size={tuple(img_size)} is not a whole number of {patch_size}-pixel patches'
        )
    if pos_interp not in ('grid2d', 'flat1d'):
        raise InputError(f"pos_interp={pos_interp!r}: choose 'grid2d' or 'flat1d'")
    if pos_init not in POS_INITS:
        raise InputError(f'pos_init={pos_init!r}: choose one of {", ".join(POS_INITS)}')
    if not is_gain(layer_scale):
        raise InputError(f'layer_scale={layer_scale!r}: a number from 0 on; 0 for none')
