"""Codes of a discrete tokenizer as the target (BEiT, CAE)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.checkpoint import CheckpointError, WeightsError, load_checkpoint_file
from saip.checkpoint.strict import check_tensors
from saip.errors import InputError, MissingFileError
from saip.models.ops.precision import full_precision, widen
from saip.models.targets.base import BaseTarget, Pixels, mean_of_scored
from saip.models.tokenizers import BaseTokenizer
from saip.registry import MODELS
from saip.structures import PatchMask, Views

REMEDY = (
    "tools/model_converters/dalle_to_saip.py makes one of DALL-E's encoder.pkl, "
    'tools/model_converters/export_tokenizer.py one of a tokenizer that you have trained; '
    'presets cae (pixels) and cae-hog need none'
)


@MODELS.register_module()
class TokenTarget(BaseTarget):
    """Cross-entropy with the codes that a frozen tokenizer gives each patch.

    The tokenizer sees a second image of the same crop, of which it makes one code per patch. It
    is in no checkpoint and no optimizer; its weights are read from their own file.

    Args:
        pixels: what is known of the images.
        tokenizer: configuration of the tokenizer.
        checkpoint: file with its weights.
        view: name of the tokenizer's image.

    Raises:
        InputError: no checkpoint is named.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        pixels: Pixels,
        tokenizer: dict[str, Any],
        checkpoint: str | None,
        view: str = 'tokenized',
    ) -> None:
        super().__init__()
        if not checkpoint:
            raise InputError(
                'target.checkpoint names no file, but codes of a random tokenizer mean nothing; '
                f'SAIP_TOKENIZER names one: {REMEDY}'
            )
        self.view = view
        self.checkpoint = checkpoint
        self.register_buffer('mean', pixels.mean.clone(), persistent=False)
        self.register_buffer('std', pixels.std.clone(), persistent=False)
        built: BaseTokenizer = MODELS.build(dict(tokenizer))
        self.out_channels = built.num_codes
        # A tuple hides the tokenizer from state_dict, parameters(), train() and init_weights().
        self._hidden = (built.requires_grad_(False).eval(),)
        self._loaded = False

    def _apply(self, fn: Callable, recurse: bool = True) -> TokenTarget:
        """Take the hidden tokenizer along to another device or type."""
        self._hidden[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def tokenizer(self) -> BaseTokenizer:
        """The tokenizer; the first call reads its weights.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file cannot be read.
            WeightsError: its weights are not those of this tokenizer.
        """
        tokenizer = self._hidden[0]
        if not self._loaded:
            load_tokenizer(tokenizer, self.checkpoint)
            self._loaded = True
        return tokenizer

    def init_weights(self) -> None:
        """Read the weights now, so that a run without them stops before it starts."""
        self.tokenizer()

    def other_views(self) -> frozenset[str]:
        """The tokenizer's image."""
        return frozenset({self.view})

    @torch.no_grad()
    def codes(self, views: Views, patches: int) -> Tensor:
        """(B, L) codes of all patches in raster order.

        Raises:
            InputError: the tokenizer makes another number of codes than there are patches.
        """
        tokenizer = self.tokenizer()
        images = views[self.view].images
        with full_precision(images.device):
            gray = (images * self.std + self.mean) / 255
            codes = tokenizer.codes(gray.to(next(tokenizer.parameters()).dtype))
        if codes[0].numel() != patches:
            height, width = codes.shape[1:]
            raise InputError(
                f'the tokenizer makes {height}x{width} codes of the images {self.view}, but the '
                f'masked view has {patches} patches; set model.data_preprocessor.views.'
                f'{self.view}.size to {tokenizer.stride} pixels per patch'
            )
        return codes.flatten(1)

    def loss(
        self, predictions: Tensor, views: Views, name: str, mask: PatchMask
    ) -> dict[str, Tensor]:
        """Mean cross-entropy; ``accuracy`` and ``codes``, how many different ones there are."""
        codes = self.codes(views, mask.restore.shape[1]).gather(1, mask.scored)
        with full_precision(predictions.device):
            scores = widen(predictions)
            errors = F.cross_entropy(scores.flatten(0, 1), codes.flatten(), reduction='none')
        with torch.no_grad():
            right = (scores.argmax(-1) == codes).float().mean()
            seen = torch.zeros(self.out_channels, device=codes.device)
            different = seen.index_fill_(0, codes.flatten(), 1.0).sum()
        value = mean_of_scored(errors.view(codes.shape), mask)
        return {'loss': value, 'accuracy': right, 'codes': different}


def load_tokenizer(tokenizer: BaseTokenizer, path: str) -> None:
    """Give a tokenizer the weights of a file, all of them.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be read, or is of another kind of tokenizer.
        WeightsError: its weights are not those of this tokenizer.
    """
    try:
        checkpoint = load_checkpoint_file(path)
        kind = (checkpoint.get('meta') or {}).get('tokenizer', {}).get('type')
        own = f'saip.{type(tokenizer).__name__}'
        if kind not in (None, own):
            raise CheckpointError(f'{path}: holds a {kind}, and {own} is configured')
        weights = checkpoint.get('state_dict', checkpoint)
        check_tensors(weights, tokenizer.state_dict(), path, remedy=REMEDY)
    except WeightsError:
        raise  # it ends with the remedy
    except (MissingFileError, CheckpointError) as error:
        raise type(error)(f'{error}. For a tokenizer: {REMEDY}') from error
    tokenizer.load_state_dict(weights, strict=True)
