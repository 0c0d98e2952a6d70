"""Names, messages and documents use the words of the field."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ('saip', 'tools', 'configs', 'benchmarks')
    for path in (ROOT / folder).rglob('*.py')
)
DOCUMENTS = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md'), ROOT / 'Makefile'])

NAMES = {
    'picture': 'image',
    'pictures': 'images',
    'natives': 'formats',
    'writer': 'format',
    'need': 'outputs',
    'pixel_features': 'dense features',
    'pixel_dims': 'dense_dims',
    'pixel_norm': 'dense_norm',
    'eighths': 'scales',
    'locals': 'local_crops',
    'token_spread': 'koleo',
    'cross_scale_alignment': 'feature distillation',
    'matrix_decay': 'no_bias_decay',
    'candidates': 'what they are: encoders, files',
    'told': 'condition, losses',
    'agreement': 'consistency, similarity',
    'mine': 'ours',
    'his': 'theirs',
    'own_weight': 'lambda_value',
    'tube': 'capsule',
    'cloth': 'textures',
    'look': 'attributes, appearance',
    'learnt': 'learned',
    'misspelt': 'misspelled',
}
"""Words of names (``own_weight`` also in ``get_own_weight`` and ``OwnWeight``), and better ones."""

WORDS = {
    'pictures?': 'image',
    '(?:drawn|embedded) (?:people|persons)': 'synthetic persons',
    'natives': 'formats',
    '[sn]o(?:me)?body': 'a person, no person, nothing',
    'anything': 'name it',
    'and said': 'with a warning',
    'what an? \\w+': 'name it',
    'pixel features?': 'dense features',
    'learnt|misspelt|spelt|burnt': 'the regular form',
    '\\w*(?:colour|neighbour|behaviour|favour|artefact|labelled)\\w*': 'American spelling',
    '\\w*(?:normal|initial|serial|summar|recogn|visual|optim|raster|organ)is(?:e|ed|es|ing|ation)'
    's?': 'American spelling',
    'grey|centre|centres|licence': 'American spelling',
}
"""Words of documents and messages, and better ones."""

EXCEPTIONS = {
    'saip/checkpoint/renamed.py': 'translates the names of earlier versions',
    'saip/experiments/reproduce': 'a Need is what a row of a table waits for, not an output',
    'saip/synthetic/formats/ontology.py': "Fashionpedia's own names of garments",
    'docs/method.md': 'quotes options of the release',
}
"""Where the rules do not hold, and why."""


def is_exempt(path: Path) -> bool:
    place = path.relative_to(ROOT).as_posix()
    return any(place == name or place.startswith(f'{name}/') for name in EXCEPTIONS)


def names_in(path: Path) -> Iterator[tuple[int, str]]:
    """Names that a file defines, and its own, with their lines."""
    yield 0, path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.keyword(arg=str()) if 'configs' in path.parts:
                yield node.value.lineno, node.arg


def texts_in(path: Path) -> Iterator[tuple[int, str]]:
    """Strings of a file that are no docstrings; of a config its comments, too."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str):
            yield node.lineno, node.value
    # What an argument parser prints, and what a user of a config reads.
    if path.is_relative_to(ROOT / 'tools') and (title := ast.get_docstring(tree)):
        yield 1, title
    if path.is_relative_to(ROOT / 'configs'):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if '#' in line:
                yield number, line.partition('#')[2]


def snake(name: str) -> str:
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()


def name_faults(name: str) -> list[str]:
    parts = f'_{snake(name)}_'
    return [word for word in NAMES if f'_{word}_' in parts]


def word_faults(text: str) -> list[str]:
    return [
        found.group()
        for pattern in WORDS
        for found in re.finditer(rf'\b(?:{pattern})\b', text, re.IGNORECASE)
    ]


def test_names_are_of_the_field():
    faults = [
        f'{path.relative_to(ROOT)}:{line}: {name} ({word}: {NAMES[word]})'
        for path in SOURCES
        if not is_exempt(path)
        for line, name in names_in(path)
        for word in name_faults(name)
    ]
    assert not faults, '\n'.join(faults)


def test_messages_use_the_words_of_the_field():
    faults = [
        f'{path.relative_to(ROOT)}:{line}: {word}'
        for path in SOURCES
        if not is_exempt(path)
        for line, text in texts_in(path)
        for word in word_faults(text)
    ]
    assert not faults, '\n'.join(faults)


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: path.name)
def test_documents_use_the_words_of_the_field(document):
    faults = [
        f'{number}: {word}'
        for number, line in enumerate(document.read_text().splitlines(), 1)
        for word in word_faults(line)
    ]
    assert not faults or is_exempt(document), '\n'.join(faults)


def test_every_exception_is_one():
    for place in EXCEPTIONS:
        path = ROOT / place
        files = sorted(path.rglob('*.py')) if path.is_dir() else [path]
        text = '\n'.join(file.read_text() for file in files)
        words = {snake(word) for word in re.findall(r'\w+', text)}
        assert word_faults(text) or any(name_faults(word) for word in words), place


@pytest.mark.parametrize(
    ('name', 'found'),
    [('PictureError', True), ('OwnWeight', True), ('history', False), ('TokenSpread', True)],
)
def test_rules_read_words_of_names(name, found):
    assert bool(name_faults(name)) is found


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('Nobody is here', True),
        ('What a view type needs', True),
        ('initialised', True),
        ('the optimizer', False),
        ('promise', False),
    ],
)
def test_rules_read_words_of_texts(text, found):
    assert bool(word_faults(text)) is found
