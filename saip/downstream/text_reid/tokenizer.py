"""Byte-pair encoding of captions, with CLIP's vocabulary or one that is learned from captions.

A tokenizer is its list of merges. Everything else follows from it, as in CLIP (Radford et al.,
2021): ids 0 to 255 are the bytes, 256 to 511 the bytes that end a word, then one id per merge, then
``<|mask|>``, the start and the end of a text.
"""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saip.errors import InputError, MissingFileError, MissingLibraryError

END_OF_WORD = '</w>'
SPECIAL = ('<|mask|>', '<|startoftext|>', '<|endoftext|>')
CLIP_MERGES = 48_894
"""Merges of CLIP's published vocabulary; the last one makes room for ``<|mask|>``, as in IRRA."""

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
"""What counts as one word: endings after an apostrophe, letters, one digit, other signs."""

PADDING = 0


class CaptionTokenizer:
    """Turns captions into ids.

    Args:
        merges: pairs of pieces that become one piece, most frequent first; each is a text of two
            pieces with a space between them.

    Raises:
        InputError: a merge joins a piece that neither a byte nor an earlier merge makes.
        MissingLibraryError: ``tokenizers`` or ``ftfy`` is not installed.
    """

    def __init__(self, merges: Sequence[str]) -> None:
        self.merges = list(merges)
        vocabulary, pairs = _vocabulary(self.merges)
        self.size = len(vocabulary) + len(SPECIAL)
        self.mask, self.start, self.end = range(len(vocabulary), self.size)
        self._model = _build(vocabulary, pairs)
        self._known: dict[str, list[int]] = {}

    def words(self, caption: str) -> list[int]:
        """Ids of a caption without start and end; none for one of spaces alone."""
        found = self._known.get(caption)
        if found is None:
            found = self._known[caption] = self._model.encode(clean(caption)).ids
        return found

    def encode(self, captions: Sequence[str], context: int) -> tuple[Tensor, Tensor]:
        """Encode captions to rows of one length.

        Args:
            captions: B texts.
            context: length T of a row; longer captions are cut and end with the end of the text.

        Returns:
            (B, T) int64 ids, padded with 0, and (B,) int64 numbers of ids with start and end.
        """
        rows = torch.full((len(captions), context), PADDING)
        lengths = torch.empty(len(captions), dtype=torch.int64)
        for number, caption in enumerate(captions):
            ids = [self.start, *self.words(caption)[: context - 2], self.end]
            rows[number, : len(ids)] = torch.tensor(ids)
            lengths[number] = len(ids)
        return rows, lengths

    def state(self) -> dict[str, Any]:
        """Plain values that :meth:`from_state` makes the same tokenizer of."""
        return {'merges': '\n'.join(self.merges)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> CaptionTokenizer:
        """Return the tokenizer that :meth:`state` describes."""
        return cls(state['merges'].split('\n') if state['merges'] else [])


def clean(caption: str) -> str:
    """Repair a caption's characters and HTML entities, lower it and collapse its spaces, as CLIP.

    Raises:
        MissingLibraryError: ``ftfy`` is not installed.
    """
    try:
        import ftfy
    except ImportError as error:
        raise MissingLibraryError('reading captions needs ftfy: pip install ftfy') from error
    repaired = html.unescape(html.unescape(ftfy.fix_text(caption)))
    return ' '.join(repaired.split()).lower()


def read_clip_vocabulary(path: str) -> CaptionTokenizer:
    """Read ``bpe_simple_vocab_16e6.txt.gz``, the vocabulary that CLIP's authors publish.

    Ids are those of CLIP but for its last merge, whose id ``<|mask|>`` takes.

    Args:
        path: of the file, compressed or not.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is another file.
    """
    if not Path(path).is_file():
        raise MissingFileError(f'{path}: no such vocabulary file; {_HOW_TO_NAME}')
    content = Path(path).read_bytes()
    try:
        text = gzip.decompress(content) if content[:2] == b'\x1f\x8b' else content
        lines = text.decode('utf-8').split('\n')[1 : CLIP_MERGES + 1]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f'{path}: damaged, or no vocabulary ({error}); {_HOW_TO_NAME}'
        ) from error
    if len(lines) != CLIP_MERGES or any(len(line.split()) != 2 for line in lines):
        raise InputError(
            f"{path}: CLIP's vocabulary has a first line about its version and then "
            f'{CLIP_MERGES} lines of two pieces each; {_HOW_TO_NAME}'
        )
    try:
        return CaptionTokenizer([' '.join(line.split()) for line in lines[:-1]])
    except InputError as error:
        raise InputError(f'{path}: {error}; {_HOW_TO_NAME}') from error


_HOW_TO_NAME = (
    'SAIP_BPE names bpe_simple_vocab_16e6.txt.gz of CLIP, and without it the vocabulary is learned '
    'from the training captions'
)


def learn_vocabulary(captions: Sequence[str], most: int) -> CaptionTokenizer:
    """Learn merges from captions: the most frequent pair of pieces becomes one, again and again.

    Args:
        captions: texts.
        most: ids that the tokenizer may have, at least those of bytes and special tokens.

    Raises:
        InputError: ``most`` is too small.
        MissingLibraryError: ``tokenizers`` or ``ftfy`` is not installed.
    """
    base = len(_vocabulary([])[0]) + len(SPECIAL)
    if most < base:
        raise InputError(
            f'model.text.vocab_size={most}: bytes and special tokens alone have {base} ids'
        )
    library = _library()
    model = library.Tokenizer(library.models.BPE(end_of_word_suffix=END_OF_WORD))
    model.pre_tokenizer = _splitter(library)
    trainer = library.trainers.BpeTrainer(
        vocab_size=most,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=_alphabet(library),
        end_of_word_suffix=END_OF_WORD,
    )
    model.train_from_iterator((clean(caption) for caption in captions), trainer)
    return CaptionTokenizer(_merges_of(model)[: most - base])


def _merges_of(model: Any) -> list[str]:
    """Merges of a model of the library, in their order."""
    return [' '.join(pair) for pair in json.loads(model.to_str())['model']['merges']]


def _library() -> Any:
    try:
        import tokenizers
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise MissingLibraryError(
            'text-to-image ReID needs tokenizers: pip install tokenizers'
        ) from error
    return tokenizers


def _alphabet(library: Any) -> list[str]:
    """The 256 characters that stand for bytes, in CLIP's order: that of their code points."""
    return sorted(library.pre_tokenizers.ByteLevel.alphabet())


def _splitter(library: Any) -> Any:
    """Cut a text into words, and each word into the characters that stand for its bytes."""
    kinds = library.pre_tokenizers
    words = kinds.Split(library.Regex(PATTERN), behavior='removed', invert=True)
    return kinds.Sequence([words, kinds.ByteLevel(add_prefix_space=False, use_regex=False)])


def _vocabulary(merges: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Pieces in the order of their ids, without special ones; and the merges as pairs."""
    alphabet = _alphabet(_library())
    pieces = [*alphabet, *(f'{character}{END_OF_WORD}' for character in alphabet)]
    known = set(pieces)
    pairs = []
    for number, merge in enumerate(merges, 1):
        first, _, second = merge.partition(' ')
        if first not in known or second not in known:
            raise InputError(f'merge {number} ({merge!r}) joins pieces that do not exist yet')
        pairs.append((first, second))
        pieces.append(first + second)
        known.add(first + second)
    return pieces, pairs


def _build(vocabulary: list[str], pairs: list[tuple[str, str]]) -> Any:
    library = _library()
    # A piece that two merges make keeps its last id, as in CLIP.
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    model = library.Tokenizer(
        library.models.BPE(vocab=ids, merges=pairs, end_of_word_suffix=END_OF_WORD)
    )
    model.pre_tokenizer = _splitter(library)
    return model
