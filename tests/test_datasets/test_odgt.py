"""CrowdHuman's annotations: who is a person, and lines that are no records."""

import pytest

from saip.datasets.crops import DataError
from saip.datasets.files import read_text
from saip.datasets.odgt import is_person, parse_odgt_line


@pytest.mark.parametrize(
    ('box', 'person'),
    [
        ({'tag': 'person'}, True),
        ({'tag': 'person', 'extra': {}}, True),
        ({'tag': 'person', 'extra': None}, True),
        ({'tag': 'person', 'extra': {'ignore': 0}}, True),
        ({'tag': 'person', 'extra': {'ignore': 1}}, False),
        ({'tag': 'mask'}, False),
        ({'tag': 'mask', 'extra': {'ignore': 1}}, False),
        ({}, False),
    ],
)
def test_who_is_a_person(box, person):
    assert is_person(box) is person


def test_a_line_is_read_as_it_is():
    line = '{"ID": "x,1", "gtboxes": [{"tag": "mask", "fbox": [1, 2, 3, 4]}], "other": 5}'
    assert parse_odgt_line(line, 'here') == {
        'ID': 'x,1',
        'gtboxes': [{'tag': 'mask', 'fbox': [1, 2, 3, 4]}],
        'other': 5,
    }


@pytest.mark.parametrize(
    ('line', 'error'),
    [
        ('', 'not JSON'),
        ('{"ID": ', 'not JSON'),
        ('[' * 100_000, 'not JSON'),
        ('[]', 'no object, but'),
        ('{"ID": "", "gtboxes": []}', 'no "ID" or no list "gtboxes"'),
        ('{"ID": 3, "gtboxes": []}', 'no "ID" or no list "gtboxes"'),
        ('{"ID": "x", "gtboxes": {}}', 'no "ID" or no list "gtboxes"'),
        ('{"ID": "x", "gtboxes": [{}, null]}', 'box 2 is None, not an object'),
    ],
)
def test_a_line_that_is_no_record_is_refused(line, error):
    with pytest.raises(DataError, match=f'here: {error}'):
        parse_odgt_line(line, 'here')


def test_another_encoding_is_named(tmp_path):
    path = tmp_path / 'a.odgt'
    path.write_bytes(b'{}\n{"ID": "\xe9"}')
    with pytest.raises(DataError, match=rf'{path}: not UTF-8 text .line 2:'):
        read_text(path)


def test_a_text_that_can_name_no_file_is_refused():
    with pytest.raises(DataError, match=r"line 3: a text with '\\ud800', half a character"):
        parse_odgt_line(r'{"ID": "\ud800", "gtboxes": []}', 'line 3')
    whole = parse_odgt_line(r'{"ID": "\ud83d\ude00", "gtboxes": []}', 'line 3')
    assert whole['ID'] == '\U0001f600'
