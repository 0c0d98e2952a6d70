"""Fashionpedia's annotations: what is read, counted and refused."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pycocotools.mask
import pytest

from saip.datasets.crops import DataError
from saip.datasets.fashionpedia import (
    ATTRIBUTED,
    CATEGORIES,
    LAYOUT,
    NUM_ATTRIBUTES,
    read_fashionpedia,
)
from saip.datasets.knowledge import (
    count,
    count_file,
    digest_of,
    load_counts,
    matrix_of,
    save_counts,
)
from saip.errors import InputError, MissingFileError
from saip.synthetic.formats import ontology
from tests.tiny import NO_REALDATA, REALDATA
from tests.tools import call_tool

TOOL = 'dataset_converters/make_knowledge_matrix.py'
TOP, SLEEVE, SHOE = 1, 31, 23


def document() -> dict:
    """Three images, the last bare; ids of attributes with gaps, a crowd, both kinds of outlines."""
    images = [dict(id=n, file_name=f'{n}.jpg', width=30, height=20) for n in (7, 8, 9)]
    square = [[2, 3, 12, 3, 12, 15, 2, 15]]
    runs = dict(size=[20, 30], counts=[40, 10, 550])
    rows = [
        (7, TOP, [340, 0, 295], square, 0),
        (7, SLEEVE, [295], runs, 0),
        (8, TOP, [295, 295], square, 0),
        (8, SHOE, [], square, 0),
        (8, TOP, [317], square, 1),
    ]
    annotations = [
        dict(
            id=number + 1, image_id=image, category_id=category, attribute_ids=attributes,
            segmentation=outline, bbox=[2, 3, 10, 12], area=120, iscrowd=crowd,
        )
        for number, (image, category, attributes, outline, crowd) in enumerate(rows)
    ]  # fmt: skip
    return dict(
        images=images,
        annotations=annotations,
        categories=[dict(entry) for entry in ontology.CATEGORIES],
        attributes=[dict(entry) for entry in ontology.ATTRIBUTES],
    )


def write(folder: Path, content: dict) -> Path:
    path = folder / 'annotations.json'
    path.write_text(json.dumps(content))
    return path


def test_what_is_read(tmp_path):
    found = read_fashionpedia(write(tmp_path, document()))
    ids = [entry['id'] for entry in ontology.ATTRIBUTES]
    assert list(found.attribute_ids) == sorted(ids)
    assert len(found.attributes) == NUM_ATTRIBUTES == 294
    # Ids are no indices: the last is 340.
    assert found.attributes[293] == 'plant'
    assert [(i, image.file_name, image.size) for i, image in found.images.items()] == [
        (n, f'{n}.jpg', (30, 20)) for n in (7, 8, 9)
    ]
    first, other = found.images[7].garments
    assert CATEGORIES[first.category] == 'top, t-shirt, sweatshirt'
    assert [found.attribute_ids[column] for column in first.attributes] == [0, 295, 340]
    assert first.segmentation == [[2, 3, 12, 3, 12, 15, 2, 15]]
    assert other.segmentation == dict(size=[20, 30], counts=[40, 10, 550])
    assert [garment.crowd for garment in found.images[8].garments] == [False, False, True]
    assert len(found.images[8].garments[0].attributes) == 1  # named twice
    assert found.images[9].garments == []


def test_ids_in_another_order_or_shifted_mean_the_same(tmp_path):
    """Categories are found by their names, attributes by the list of the file."""
    plain = read_fashionpedia(write(tmp_path, document()))
    content = document()
    content['attributes'].reverse()
    content['categories'].reverse()
    for entry in content['categories']:
        entry['id'] += 1
    for row in content['annotations']:
        row['category_id'] += 1
    assert read_fashionpedia(write(tmp_path, content)) == plain


def test_categories_with_attributes():
    """Those of which the published evaluator keeps a list, by their names."""
    parts = [CATEGORIES[number] for number in ATTRIBUTED if number > 12]
    assert parts == ['collar', 'lapel', 'sleeve', 'pocket', 'neckline']
    assert len(ATTRIBUTED) == 18
    assert CATEGORIES[12] == 'cape'
    assert tuple(entry['name'] for entry in ontology.CATEGORIES) == CATEGORIES


def change_row(**changes):
    return lambda content: content['annotations'][0].update(changes)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.pop('categories'), 'no list of categories'),
        (lambda c: c.pop('attributes'), 'no list of attributes'),
        (lambda c: c['attributes'].pop(), '293 attributes, not the 294'),
        (lambda c: c['attributes'][1].update(id=0), r'attributes\[1\] .* have the same id 0'),
        (lambda c: c['attributes'][0].pop('id'), r'attributes\[0\] .* has the id None'),
        (lambda c: c['categories'].pop(), "45 categories .*without 'tassel'.*not the 46"),
        (lambda c: c['categories'][5].update(name='earmuffs'), "with 'earmuffs'"),
        (
            lambda c: c['categories'].append(dict(id=99, name='shoe')),
            '47 categories .some of them twice',
        ),
        (lambda c: c['images'][0].pop('width'), r'image 7\.jpg has no width and height'),
        (
            change_row(attribute_ids=[0, 284]),
            'annotation 1 has the attribute 284, which the file',
        ),
        (change_row(attribute_ids=[[0]]), r'annotation 1 has the attribute \[0\]'),
        (change_row(attribute_ids=None), 'annotation 1 has attribute_ids None, not a list'),
        (change_row(category_id=99), 'annotation 1 has the category 99, which the file'),
        (change_row(category_id=None), 'annotation 1 has category_id None, no id'),
        (change_row(segmentation=[]), r'annotation 1 has segmentation \[\], neither polygons'),
        (change_row(segmentation=[[1, 2, 3, 4]]), 'neither polygons of three or more points'),
        (change_row(segmentation=None), 'annotation 1 has segmentation None'),
        (
            change_row(segmentation=dict(size=[30, 20], counts=[600])),
            'run lengths of 20 x 30 pixels in an image of 30 x 20',
        ),
        *(
            (
                change_row(segmentation=dict(size=[20, 30], counts=counts)),
                'annotation 1 has run lengths .* that are damaged',
            )
            for counts in (
                [599],
                [601],
                [700, -100],
                [300.0, 300],
                ['600'],
                [True, 599],
                'h',
                '',
                'hb0{',
            )
        ),
        *(
            (change_row(segmentation=[[2, 3, 12, 3, value, 15]]), 'neither polygons of three')
            for value in (math.nan, None, '12', True)
        ),
        (change_row(image_id=5), 'unknown image 5'),
        (lambda c: c['annotations'].clear(), 'no image with a garment'),
    ],
)
def test_other_annotations_are_refused(tmp_path, change, message):
    content = document()
    change(content)
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        read_fashionpedia(path)
    assert str(path) in str(caught.value)
    assert LAYOUT in str(caught.value)


def test_run_lengths_as_text_are_those_of_pycocotools(tmp_path):
    content = document()
    generator = np.random.default_rng(0)
    masks = [generator.random((20, 30)) < share for share in (0.0, 0.01, 0.5, 1.0)]
    for row, mask in zip(content['annotations'], masks, strict=False):
        encoded = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        row['segmentation'] = encoded | {'counts': encoded['counts'].decode()}
    garments = read_fashionpedia(write(tmp_path, content)).images[7].garments
    for garment, mask in zip(garments, masks, strict=False):
        assert pycocotools.mask.decode(garment.segmentation).astype(bool).tolist() == (
            mask.tolist()
        )
    content['annotations'][2]['segmentation']['counts'] += '1'
    with pytest.raises(DataError, match=r'annotation 3 has run lengths .* damaged'):
        read_fashionpedia(write(tmp_path, content))


def test_run_lengths_that_never_end_are_refused_at_once(tmp_path):
    """Every letter says that the number goes on: it would have half a million bits."""
    content = document()
    content['annotations'][1]['segmentation']['counts'] = 'o' * 100_000
    path = write(tmp_path, content)
    began = time.process_time()
    with pytest.raises(DataError, match=r'annotation 2 has run lengths .* damaged'):
        read_fashionpedia(path)
    assert time.process_time() - began < 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        MissingFileError, match=r'none\.json: no such file.*instances_attributes_'
    ):
        read_fashionpedia(tmp_path / 'none.json')


def test_the_published_sample_of_an_earlier_version_says_why_not(tmp_path):
    """It has 48 categories, 320 attributes, and no boxes."""
    content = document()
    content['categories'] += [dict(id=46, name='earmuffs'), dict(id=47, name='garment belt')]
    with pytest.raises(DataError, match=r'48 categories .*samples of earlier versions have 48'):
        read_fashionpedia(write(tmp_path, content))


@pytest.mark.skipif(not REALDATA.is_dir(), reason=NO_REALDATA)
def test_the_real_sample_is_such_a_one():
    path = REALDATA / 'native/fashionpedia_sample/sample.json'
    with pytest.raises(DataError, match=r"48 categories \(with 'earmuffs'\), not the 46"):
        read_fashionpedia(path)


def column(identity: int) -> int:
    return [entry['id'] for entry in ontology.ATTRIBUTES].index(identity)


def test_counts_by_hand(tmp_path):
    """The crowd of tops does not count, nor does an attribute that is named twice."""
    path = write(tmp_path, document())
    counts = count_file(path)
    assert {CATEGORIES[c]: counts.garments[c] for c in np.flatnonzero(counts.garments)} == {
        'top, t-shirt, sweatshirt': 2,
        'sleeve': 1,
        'shoe': 1,
    }
    expected = np.zeros((46, 294))
    expected[TOP, [column(0), column(340)]] = 1
    expected[TOP, column(295)] = 2
    expected[SLEEVE, column(295)] = 1
    assert np.array_equal(counts.pairs, expected)
    shares = matrix_of(counts, 'garments')
    assert shares[TOP, [column(0), column(295), column(340)]].tolist() == [0.5, 1, 0.5]
    assert shares[SLEEVE, column(295)] == 1
    assert shares.sum() == 3
    rows = matrix_of(counts, 'attributes')
    assert rows[TOP, [column(0), column(295), column(340)]].tolist() == [0.25, 0.5, 0.25]
    assert rows.sum(axis=1).tolist() == [float(c in (TOP, SLEEVE)) for c in range(46)]
    with pytest.raises(InputError, match="normalization='rows': no such rule; choose garments"):
        matrix_of(counts, 'rows')


def test_the_tool_writes_what_is_read_again(tmp_path, monkeypatch, capsys):
    path, target = write(tmp_path, document()), tmp_path / 'more/knowledge.npz'
    assert call_tool(monkeypatch, TOOL, path, target) == 0
    said = capsys.readouterr().out
    assert '4 garments of 3 categories, 4 pairs of category and attribute' in said
    found, expected = load_counts(target), count_file(path)
    assert found.digest == expected.digest == digest_of(path)
    assert len(found.digest) == 64
    for one, other in zip(found[:3], expected[:3], strict=True):
        assert np.array_equal(one, other)
    assert found.attribute_ids.tolist()[-1] == 340
    assert call_tool(monkeypatch, TOOL, tmp_path / 'none.json', target) == 2
    assert 'none.json: no such file' in capsys.readouterr().err


def test_other_files_are_no_counts(tmp_path):
    with pytest.raises(MissingFileError, match=r'make_knowledge_matrix\.py .* writes it'):
        load_counts(tmp_path / 'none.npz')
    text = tmp_path / 'text.npz'
    text.write_text('counts')
    with pytest.raises(DataError, match=r'no counts of attributes .*make_knowledge_matrix'):
        load_counts(text)
    array = tmp_path / 'array.npz'
    np.savez(array, matrix=np.zeros((46, 294)))
    with pytest.raises(DataError, match='no counts of attributes'):
        load_counts(array)
    pickled = tmp_path / 'pickled.npz'
    np.savez(pickled, garments=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r'no counts of attributes .*allow_pickle=False'):
        load_counts(pickled)
    annotated = read_fashionpedia(write(tmp_path, document()))
    small = tmp_path / 'small.npz'
    save_counts(small, count(annotated)._replace(garments=np.zeros(45, np.int64)))
    with pytest.raises(DataError, match=r'counts of the shapes \(\(45,\), '):
        load_counts(small)


@pytest.mark.parametrize(
    ('name', 'value', 'said'),
    [
        ('pairs', -1, 'no whole numbers from 0 on'),
        ('garments', 0.5, 'no whole numbers from 0 on'),
        ('garments', 0, 'more garments with an attribute than there are'),
        ('attribute_ids', 7, 'do not ascend'),
    ],
)
def test_numbers_that_count_nothing_are_no_counts(tmp_path, name, value, said):
    counts = count(read_fashionpedia(write(tmp_path, document())))
    changed = getattr(counts, name) * 0 + value
    save_counts(tmp_path / 'counts.npz', counts._replace(**{name: changed}))
    with pytest.raises(DataError, match=rf'counts\.npz: counts .*{said}'):
        load_counts(tmp_path / 'counts.npz')


def test_counts_that_another_method_has_packed_are_no_counts(tmp_path):
    """zipfile knows the number of a method and not the method: no error of a bad file."""
    path = tmp_path / 'counts.npz'
    save_counts(path, count(read_fashionpedia(write(tmp_path, document()))))
    content = bytearray(path.read_bytes())
    for mark, at in ((b'PK\x03\x04', 8), (b'PK\x01\x02', 10)):
        found = content.find(mark)
        content[found + at] = 99
    path.write_bytes(content)
    with pytest.raises(DataError, match=r'counts\.npz: no counts of attributes'):
        load_counts(path)
