"""Text-to-image ReID: a file for images and one for captions.

Legend: B images or captions, T ids of a caption, E width of the common space.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from saip.checkpoint import CheckpointError
from saip.deploy.program import Output, Program, check_size, image_input
from saip.deploy.tasks.finetuned import Finetuned, trained_size
from saip.structures import Grid

CAPTIONS = (
    'A man in a red coat carries a black bag.',
    'The woman wears a white shirt, blue jeans and sneakers.',
    'A person with a backpack looks at a phone.',
    'Dark trousers, a gray hat.',
    'She has long hair and a yellow dress with short sleeves, and walks to the left.',
    'An old man with a stick.',
)
"""What the text side of source and file is run on."""

FEATURE = Output('feature', 'one vector per row, not normalized; compared by cosine')


class ImageSide(nn.Module):
    """The image token in the common space."""

    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(B, 3, h, w) -> (B, E)."""
        return (self.model.encode_images(images)[:, 0],)


class TextSide(nn.Module):
    """The row of the end of a text in the common space.

    Args:
        model: a ``saip.TextReID``.
        end: id of the end of a text.
    """

    text: Any

    def __init__(self, model: Any, end: int) -> None:
        super().__init__()
        self.text = model.text
        self.end = end

    def forward(self, ids: Tensor) -> tuple[Tensor]:
        """(B, T) -> (B, E)."""
        rows = self.text(ids)
        places = (ids == self.end).to(torch.int64).argmax(1)
        chosen = places[:, None, None].expand(-1, 1, rows.shape[-1])
        return (rows.gather(1, chosen)[:, 0],)


def text_reid_programs(tuned: Finetuned, size: Grid | None) -> list[Program]:
    """Make the programs of both sides.

    Raises:
        CheckpointError: the checkpoint holds no tokenizer.
        MissingLibraryError: ``tokenizers`` or ``ftfy`` is not installed.
    """
    from saip.downstream.text_reid.hook import META_KEY
    from saip.downstream.text_reid.tokenizer import CaptionTokenizer

    state = tuned.meta.get(META_KEY)
    if state is None:
        raise CheckpointError(
            f'its meta holds no {META_KEY}, so what its text transformer reads is not known'
        )
    tokenizer = CaptionTokenizer.from_state(state)
    model = tuned.model
    checked = check_size(size or trained_size(tuned.config), model.backbone.patch_stride)
    images = Program(
        'text_reid',
        tuned.from_pixels(ImageSide(model)),
        image_input(checked, tuned.resize),
        (FEATURE,),
        part='image',
    )
    about = {
        'tokenizer': {
            'merges': tokenizer.merges,
            'start': tokenizer.start,
            'end': tokenizer.end,
            'padding': 0,
        }
    }
    inputs = {'name': 'ids', 'shape': [model.text.context], 'type': 'int64'}
    network = TextSide(model, tokenizer.end).eval()
    ids, _ = tokenizer.encode(CAPTIONS, model.text.context)
    captions = Program(
        'text_reid', network, inputs, (FEATURE,), about, part='text', examples=ids.numpy()
    )
    return [images, captions]
