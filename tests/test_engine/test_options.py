"""Values of --cfg-options are what was typed."""

import argparse
import re

import pytest
from mmengine.config import DictAction

from saip.engine.options import OptionAction, parse_options, parse_value
from tests.tiny import ROOT


@pytest.mark.parametrize(
    'text',
    [
        '/data/my crops',
        '/data/a,b',
        '/data/a, b',
        "/data/bob's crops",
        r'C:\new folder\1',
        'crops (old)',
        '(old) crops (2)',
        '[draft',
        '[a](b]',
        'a,1',
        '',
        '{a: 1, b: 2}',
        'sweet=1,2',
    ],
)
def test_a_text_stays_as_it_is(text):
    assert parse_options([f'key={text}']) == {'key': text}


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('[a b, c]', ['a b', 'c']),
        ("['/data/a,b', c]", ['/data/a,b', 'c']),
        ('"1,2"', '1,2'),
        ("'3'", '3'),
        ('( 480 , 160 )', (480, 160)),
        ('[]', []),
        ('()', ()),
        ("[bob's, b]", ["bob's", 'b']),
    ],
)
def test_lists_keep_the_texts_in_them(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize(
    'text',
    [
        *('3', '-1', '1e-4', '0.5', 'True', 'false', 'None', 'float32', 'nan_policy', 'None1'),
        *('1,2,3', '0.5,1', '[1,2]', '[a,b]', '(1.25,)', '(480,160)', '[(1,2,3),[a,b],c]'),
        *('[True,None]', '[[1],[2]]', 'saip.AutocastOptimWrapper', 'crops'),
    ],
)
def test_other_values_are_those_of_mmengine(text):
    value = parse_value(text)
    assert value == DictAction._parse_iterable(text)
    assert type(value) is type(DictAction._parse_iterable(text))


def test_flags_add_up_and_a_text_without_a_value_is_refused(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    args = parser.parse_args(['--cfg-options', 'a=1', 'b=x y', '--cfg-options', 'a=2'])
    assert args.cfg_options == {'a': 2, 'b': 'x y'}
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', 'lr'])
    assert '--cfg-options lr: KEY=VALUE is needed' in capsys.readouterr().err


def test_every_tool_reads_its_options_so():
    for path in (*ROOT.glob('tools/**/*.py'), *ROOT.glob('saip/**/*.py')):
        text = path.read_text()
        assert 'import DictAction' not in text
        assert not re.search(r"'--cfg-options',\s*nargs='\+',\s*action=(?!OptionAction)", text)
