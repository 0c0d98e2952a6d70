"""Ids of captions against open_clip's tokenizer, and vocabularies that are learnt."""

import gzip
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from saip.downstream.text_reid.tokenizer import (
    CLIP_MERGES,
    PADDING,
    CaptionTokenizer,
    learn_vocabulary,
    read_clip_vocabulary,
)
from saip.errors import InputError, MissingFileError, MissingLibraryError
from tests.test_downstream.test_text_reid.people_files import caption
from tests.tiny import ROOT

SimpleTokenizer, default_bpe = (
    getattr(pytest.importorskip('open_clip.tokenizer'), name)
    for name in ('SimpleTokenizer', 'default_bpe')
)

PIECES = (
    *('a', 'the', 'woman', 'man', 'boy', 'pedestrian', 'is', 'wearing', 'has', 'with', 'walks'),
    *(
        'red',
        'dark-blue',
        'greyish',
        'knee-length',
        'T-shirt',
        "man's",
        "don't",
        "she'll",
        'I`m',
    ),
    *('shoulder-length', 'backpack,', 'trousers.', '(maybe', 'jeans)', 'umbrella;', '"Nike"'),
    *(
        '2',
        '25',
        '3/4',
        '100%',
        'size-12b',
        'no.7',
        '#3',
        '&',
        '&amp;',
        '&lt;b&gt;',
        '&amp;quot;',
    ),
    *(
        'café',
        'naïve',
        'Überjacke',
        'señor',
        'ﬁne',
        '“quoted”',
        'it’s',
        'â€œmojibakeâ€\x9d',
        '…',
        '—',
    ),
    *(
        '衣服',
        '红色的',
        'куртка',
        'سترة',
        'ジャケット',
        '😀',
        '👨‍👩‍👧',
        '½',
        'x²',
        'İstanbul',
        '\u00a0',
        '!',
        '!!!',
    ),
    *('supercalifragilistic', 'zzzzqqq', 'HTTP://www.x.org', 'a_b_c', '<|mask|>', "'s", "''ll"),
)


@pytest.fixture(scope='module')
def clip() -> CaptionTokenizer:
    return read_clip_vocabulary(default_bpe())


@pytest.fixture(scope='module')
def theirs() -> SimpleTokenizer:
    return SimpleTokenizer()


def test_ids_are_those_of_open_clip_for_500_captions(clip, theirs):
    rng = random.Random(0)
    captions = [caption(rng.randrange(36), rng.randrange(3)) for _ in range(100)]
    captions += [
        rng.choice(('', ' ', '\t')).join(
            rng.choice(PIECES) + rng.choice((' ', '  ', '\n', ''))
            for _ in range(rng.randint(1, 60))
        )
        for _ in range(400)
    ]
    ids, lengths = clip.encode(captions, 77)
    expected = theirs(captions, 77)
    assert torch.equal(ids, expected)
    # The longest are cut, and all end with the largest id, where CLIP reads its feature.
    assert (lengths == 77).sum() > 20
    assert torch.equal(lengths - 1, expected.argmax(1))
    assert len(set(ids.flatten().tolist())) > 150


def test_the_last_merge_makes_room_for_the_mask(clip, theirs):
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split('\n')
    last = lines[CLIP_MERGES].replace(' ', '').removesuffix('</w>')
    assert theirs.encode(last) == [49405]
    assert (clip.size, clip.mask, clip.start, clip.end) == (49408, 49405, 49406, 49407)
    assert len(clip.words(last)) == 2  # its two pieces
    # What looks like a special token is text.
    assert clip.mask not in clip.words('<|mask|>')
    assert clip.end not in clip.words('<|endoftext|>')


def test_rows_are_cut_and_padded(clip):
    ids, lengths = clip.encode(['a man', 'a man with a hat', '  '], 5)
    a, man, start, end = *clip.words('a man'), clip.start, clip.end
    assert ids.tolist() == [
        [start, a, man, end, PADDING],
        [start, a, man, *clip.words('with'), end],
        [start, end, *[PADDING] * 3],
    ]
    assert lengths.tolist() == [4, 5, 2]


def pairs_before_each_merge(captions: list[str], merges: list[str]) -> Iterator[Counter]:
    """How often each pair of pieces occurs before each merge, word by word in Python."""
    words = Counter(word for text in captions for word in text.split())
    pieces = {word: [*word[:-1], f'{word[-1]}</w>'] for word in words}
    for merge in merges:
        pairs: Counter = Counter()
        for word, parts in pieces.items():
            for pair in pairwise(parts):
                pairs[' '.join(pair)] += words[word]
        yield pairs
        for word, parts in pieces.items():
            merged: list[str] = []
            for part in parts:
                if merged and f'{merged[-1]} {part}' == merge:
                    merged[-1] += part
                else:
                    merged.append(part)
            pieces[word] = merged


def test_learnt_merges_are_the_most_frequent_pairs():
    captions = ['a man in a coat and a man in a hat'] * 3 + ['many women and a child'] * 2
    learnt = learn_vocabulary(captions, 560)
    assert len(learnt.merges) > 10
    counted = pairs_before_each_merge(captions, learnt.merges)
    for merge, pairs in zip(learnt.merges, counted, strict=True):
        assert pairs[merge] == max(pairs.values()) > 1
    assert learnt.words('man and child') == [
        learnt.words('man')[0],
        learnt.words('and')[0],
        *learnt.words('child'),
    ]


def test_a_learnt_vocabulary_keeps_to_its_size_and_knows_every_text():
    captions = [caption(person, variant) for person in range(36) for variant in range(3)]
    learnt = learn_vocabulary(captions, 600)
    assert learnt.size == 600
    assert (learnt.mask, learnt.start, learnt.end) == (597, 598, 599)
    # Any text is made of bytes.
    assert len(learnt.words('Ω')) == 2
    # What a state makes is the same.
    again = CaptionTokenizer.from_state(learnt.state())
    texts = [*captions, 'something else: Ω!']
    assert torch.equal(again.encode(texts, 30)[0], learnt.encode(texts, 30)[0])
    assert learnt.words(captions[0].upper()) == learnt.words(captions[0])


def test_a_vocabulary_without_merges():
    plain = learn_vocabulary(['ab'], 515)
    assert plain.merges == []
    assert CaptionTokenizer.from_state(plain.state()).size == 515
    with pytest.raises(
        InputError, match='vocab_size=514: bytes and special tokens alone have 515'
    ):
        learn_vocabulary(['ab'], 514)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r'no such vocabulary file; SAIP_BPE names bpe_'):
        read_clip_vocabulary(str(tmp_path / 'bpe.txt.gz'))
    path = tmp_path / 'other.txt'
    path.write_text('#version\na b\n')
    with pytest.raises(InputError, match='48894 lines of two pieces'):
        read_clip_vocabulary(str(path))
    content = gzip.decompress(Path(default_bpe()).read_bytes())
    path.write_bytes(gzip.compress(content)[:1000])
    with pytest.raises(InputError, match='damaged, or no vocabulary'):
        read_clip_vocabulary(str(path))
    path.write_bytes(content.replace(b'\ni n\n', b'\nxyz n\n', 1))
    with pytest.raises(InputError, match=r"merge 1 \('xyz n'\) joins pieces that do not exist"):
        read_clip_vocabulary(str(path))
    path.write_bytes(content)  # not compressed
    assert read_clip_vocabulary(str(path)).size == 49408


@pytest.mark.parametrize(('library', 'needed'), [('tokenizers', 'ReID'), ('ftfy', 'captions')])
def test_a_library_that_is_not_installed_is_named(monkeypatch, library, needed):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=f'{needed} needs {library}: pip install'):
        learn_vocabulary(['a man'], 600).words('a man')


def test_importing_the_task_needs_neither_library():
    code = (
        'import sys; sys.modules.update(tokenizers=None, ftfy=None, open_clip=None); '
        'import saip.downstream.text_reid'
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
