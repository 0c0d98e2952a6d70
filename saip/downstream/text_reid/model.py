"""Image encoder and text transformer with a common space (IRRA).

Legend: B images, L patches, D width of the encoder, T ids of a caption, E width of the common
space.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from saip.downstream.text_reid.head import IRRAHead
from saip.downstream.text_reid.masking import MaskedWords, mask_words
from saip.downstream.text_reid.tokenizer import CaptionTokenizer
from saip.downstream.text_reid.transformer import CLIPTextTransformer
from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder
from saip.registry import MODELS


@MODELS.register_module()
class TextReID(BaseModel):
    """Finds images of a person by a caption.

    All normed tokens of the image encoder go through one matrix without bias, whose weights begin
    with variance 1 / D. The feature of an image is its image token, that of a caption the row of
    the end of its text. The image token of an encoder whose pooling changes the width has a matrix
    of its own.

    A sample of the training has ``caption`` and ``gt_label``, one of a test ``captions``, a list.
    Predictions carry ``feature``, (E,) float32, and ``caption_features``, (captions, E).

    The tokenizer is no module: ``saip.TokenizerHook`` makes it and keeps it in the checkpoints.

    Args:
        backbone: an encoder of saip.
        text: ``saip.CLIPTextTransformer``.
        head: ``saip.IRRAHead``.
        data_preprocessor: mmpretrain's.

    Raises:
        InputError: the widths or vocabularies of text and head differ.
    """

    backbone: BaseEncoder
    text: CLIPTextTransformer
    head: IRRAHead

    def __init__(
        self,
        backbone: dict[str, Any],
        text: dict[str, Any],
        head: dict[str, Any],
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.tokenizer: CaptionTokenizer | None = None
        self.backbone = MODELS.build(backbone)
        self.text = MODELS.build(text)
        self.head = MODELS.build(head)
        self._compare()
        self.projection = self._matrix(self.backbone.patch_dims)
        same = self.backbone.embed_dims == self.backbone.patch_dims
        self.token_projection = None if same else self._matrix(self.backbone.embed_dims)

    def _matrix(self, width: int) -> nn.Linear:
        linear = nn.Linear(width, self.text.dims, bias=False)
        nn.init.normal_(linear.weight, std=width**-0.5)
        return linear

    def _compare(self) -> None:
        known = self.head.mlm.head.words.out_features
        dims = self.head.classifier.in_features
        if (dims, known) != (self.text.dims, self.text.vocab_size):
            raise InputError(
                f'model.head has dims={dims} and vocab_size={known}, model.text '
                f'dims={self.text.dims} and vocab_size={self.text.vocab_size}; they must be equal'
            )

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Losses (``loss``), predictions (``predict``) or projected image tokens (``tensor``).

        Args:
            inputs: (B, 3, h, w), normalized.
            data_samples: B samples with captions; ``tensor`` needs none.
            mode: which.
        """
        tokens = self.encode_images(inputs)
        if mode == 'tensor':
            return tokens
        assert data_samples is not None
        if mode == 'loss':
            return self._loss(tokens, data_samples)
        return self._predict(tokens, data_samples)

    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 1 + L, E), the token of the whole image first."""
        output = self.backbone.encode(images)
        token, patches = output.require_image_token(), output.require_patch_tokens()
        if self.token_projection is None:
            return self.projection(torch.cat([token[:, None], patches], 1))
        return torch.cat([self.token_projection(token)[:, None], self.projection(patches)], 1)

    def encode_captions(self, captions: list[str], device: torch.device) -> Tensor:
        """B texts -> (B, E)."""
        ids, lengths = self._ids(captions)
        return self._ends(self.text(ids.to(device)), lengths.to(device))

    def _ids(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        if self.tokenizer is None:
            raise InputError(
                'the model has no tokenizer: custom_hooks needs '
                "dict(type='saip.TokenizerHook', ...), as configs/downstream/text_reid has it"
            )
        return self.tokenizer.encode(captions, self.text.context)

    @staticmethod
    def _ends(rows: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, E) and (B,) lengths -> (B, E) rows of the ends of the texts."""
        return rows[torch.arange(len(rows), device=rows.device), lengths - 1]

    def _loss(self, tokens: Tensor, samples: list[DataSample]) -> dict[str, Tensor]:
        device = tokens.device
        ids, lengths = self._ids([sample.caption for sample in samples])
        assert self.tokenizer is not None
        # Hidden on the host, where the number of hidden words is known without a wait.
        masked = mask_words(ids, lengths, self.tokenizer.mask)
        masked = MaskedWords(*(part.to(device, non_blocking=True) for part in masked))
        texts = self._ends(self.text(ids.to(device)), lengths.to(device))
        labels = torch.cat([sample.gt_label for sample in samples])
        return self.head.loss(tokens, texts, self.text(masked.ids), masked, labels)

    def _predict(self, tokens: Tensor, samples: list[DataSample]) -> list[DataSample]:
        numbers = [len(sample.captions) for sample in samples]
        captions = [caption for sample in samples for caption in sample.captions]
        found = self.encode_captions(captions, tokens.device).float().split(numbers)
        for sample, image, texts in zip(samples, tokens[:, 0].float(), found, strict=True):
            sample.set_field(image, 'feature')
            sample.set_field(texts, 'caption_features')
        return samples
