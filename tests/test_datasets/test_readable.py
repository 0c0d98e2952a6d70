"""Which image files are refused, and sets that are measured."""

import numpy as np
import pytest

from saip.datasets.canvas import ImageError, decode_image
from saip.datasets.crops import DataError
from saip.datasets.readable import image_fault, require_readable
from tests.test_datasets.image_files import encode, pixels

JPEG = encode(pixels(60, 40))
PNG = encode(pixels(60, 40), 'PNG')
BROKEN = {
    'truncated.jpg': JPEG[: len(JPEG) // 2],
    'without_end.jpg': JPEG[:-40],
    'empty.jpg': b'',
    'empty.png': b'',
    'text.jpg': b'a page that says that there is no such file',
    'truncated.png': PNG[: len(PNG) // 2],
    'changed.png': PNG[:200] + bytes([PNG[200] ^ 1]) + PNG[201:],
    'truncated.webp': encode(pixels(60, 40), 'WEBP')[:-50],
}
WHOLE = {
    'plain.jpg': JPEG,
    'gray.jpg': encode(np.full((9, 7), 100, np.uint8)),
    'padded.jpg': JPEG + bytes(16),
    'plain.png': PNG,
    'plain.webp': encode(pixels(60, 40), 'WEBP'),
    'png_inside.jpg': PNG,
}


@pytest.mark.parametrize('name', [*BROKEN, *WHOLE])
def test_it_says_what_decoding_says(tmp_path, name):
    path = tmp_path / name
    path.write_bytes((BROKEN | WHOLE)[name])
    assert bool(image_fault(path)) == bool(image_fault(path, decode=True)) == (name in BROKEN)
    if name in BROKEN:
        with pytest.raises(ImageError):
            decode_image(path)


def test_a_set_that_is_measured_is_refused_with_all_names(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('saip.datasets.readable.print_log', lambda text, *_: said.append(text))
    for name, content in (BROKEN | WHOLE).items():
        (tmp_path / name).write_bytes(content)
    paths = sorted(tmp_path.iterdir())
    with pytest.raises(DataError) as caught:
        require_readable([*paths, *paths, tmp_path / 'none.jpg'], 'the set')
    text = str(caught.value)
    assert text.startswith('the set: 9 of the 15 images to measure on cannot be read: ')
    assert all(f'/{name} (' in text for name in (*BROKEN, 'none.jpg'))
    assert not any(f'/{name}' in text for name in WHOLE)
    assert not said
    monkeypatch.setattr('saip.datasets.readable.SHOWN_NAMES', 7)
    with pytest.raises(DataError, match='and 2 more, which the log names'):
        require_readable([*paths, tmp_path / 'none.jpg'], 'the set')
    assert len(said) == 2
    require_readable((tmp_path / name for name in WHOLE), 'the set')
