"""SAIP: scale-aware pretraining of lightweight encoders on person images.

The public API::

    import saip

    encoder = saip.load_encoder('backbone_epoch_300-1a2b3c4d.pth')
    output = encoder.encode(images)  # images: (B, 3, H, W), normalized
    output.image_token, output.patch_tokens  # (B, D), (B, L, D')
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from saip.version import __version__

if TYPE_CHECKING:
    from saip.checkpoint import Which
    from saip.models.backbones import BaseEncoder

__all__ = ['__version__', 'list_encoders', 'load_encoder']


def load_encoder(
    path: str | os.PathLike, which: Which | None = None, condition: float | None = None
) -> BaseEncoder:
    """Load an encoder from an exported backbone or a training checkpoint.

    Args:
        path: the file, ``.pth`` or ``.safetensors``.
        which: of a training checkpoint ``student`` (default) or ``expert``; an exported file holds
            one of them, and that one is loaded.
        condition: of a training checkpoint with a semantic controller (SOLIDER) the λ, from 0 to
            1, that is folded into the weights; by default the one that its training evaluated
            with.

    Returns:
        The encoder in eval mode on the CPU. Its images are RGB at 0..255, minus ``mean``, divided
        by ``std``; :func:`saip.checkpoint.load_encoder` tells these two and what else the file
        says of itself.

    Raises:
        CheckpointError: the file cannot be read or holds no such encoder.
        FileNotFoundError: there is no such file.
    """
    from saip.checkpoint import load_any_encoder

    return load_any_encoder(path, which, condition)


def list_encoders() -> list[str]:
    """Names of the encoders that configs and ``SAIP_BACKBONE`` know.

    They are the files of ``configs/_base_/backbones``.
    """
    from saip.configs import backbone_folder

    return sorted(path.stem for path in backbone_folder().glob('*.py'))
