"""Imports point down: a module uses what lies on lower floors, and no package needs itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.tiny import ROOT

FLOORS = (
    ('tools', 'quickstart'),
    ('deploy',),
    ('downstream', 'experiments'),
    ('visualization', 'analysis'),
    ('engine',),
    ('evaluation',),
    ('models',),
    ('views',),
    ('checkpoint',),
    ('configs', 'datasets', 'synthetic'),
    ('compiling', 'errors', 'startup', 'structures', 'registry', 'version'),
)
"""Packages from the roof to the ground; those of one floor may use each other without a circle."""

HEIGHT = {name: height for height, floor in enumerate(reversed(FLOORS)) for name in floor}

Edge = tuple[str, str]
Graph = dict[Edge, list[str]]
"""Who imports whom, and the modules that do it."""


def package_of(module: str) -> str | None:
    """The package of a dotted name; None for the root, which holds the public functions."""
    parts = module.split('.')
    if parts[0] == 'tools':
        return 'tools'
    return parts[1] if len(parts) > 1 else None


def imports(path: Path, name: str) -> Iterator[str]:
    """Dotted names that a file imports from ours, in functions and for types, too."""
    base = name.split('.') if path.name == '__init__.py' else name.split('.')[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            module = '.'.join([*above, *([node.module] if node.module else [])])
            # A name may be a module, as in ``from saip.datasets import views``.
            found = [f'{module}.{alias.name}' for alias in node.names]
        else:
            continue
        yield from (one for one in found if one.split('.')[0] == 'saip')


def read_graph(root: Path) -> Graph:
    """All imports from one package into another."""
    graph: Graph = {}
    for folder in ('saip', 'tools'):
        for path in sorted((root / folder).rglob('*.py')):
            name = '.'.join(path.relative_to(root).with_suffix('').parts)
            source = package_of(name.removesuffix('.__init__'))
            for imported in imports(path, name.removesuffix('.__init__')):
                target = package_of(imported)
                if source is None or target is None or target == source:
                    continue
                graph.setdefault((source, target), []).append(f'{name} -> {imported}')
    return graph


def upward(graph: Graph) -> list[Edge]:
    """Imports from a floor into one above it."""
    return [edge for edge in graph if HEIGHT[edge[1]] > HEIGHT[edge[0]]]


def circle(graph: Graph) -> list[str]:
    """One circle of packages, its first at both ends; empty if there is none."""
    below: dict[str, list[str]] = {}
    for source, target in graph:
        below.setdefault(source, []).append(target)
    done: set[str] = set()

    def visit(package: str, path: list[str]) -> list[str]:
        if package in path:
            return [*path[path.index(package) :], package]
        if package in done:
            return []
        for target in below.get(package, []):
            if found := visit(target, [*path, package]):
                return found
        done.add(package)
        return []

    return next((found for package in below if (found := visit(package, []))), [])


def drawn(graph: Graph) -> str:
    """The graph from the roof down, with the modules behind every arrow that points up."""
    wrong = set(upward(graph)) | set(pairwise(circle(graph)))
    lines = []
    for floor in FLOORS:
        for package in floor:
            targets = sorted(
                (target for source, target in graph if source == package), key=HEIGHT.get
            )
            lines.append(f'{package:>14} -> {", ".join(reversed(targets)) or "nothing"}')
            lines += [
                f'{"":>17} {import_}'
                for target in targets
                if (package, target) in wrong
                for import_ in graph[package, target]
            ]
    return '\n'.join(lines)


def check(graph: Graph) -> None:
    assert not upward(graph), f'imports point up: {upward(graph)}\n{drawn(graph)}'
    assert not circle(graph), f'a circle: {" -> ".join(circle(graph))}\n{drawn(graph)}'


@pytest.fixture(scope='module')
def graph() -> Graph:
    return read_graph(ROOT)


def test_every_package_has_a_floor(graph):
    assert {package for edge in graph for package in edge} <= set(HEIGHT)
    for path in (ROOT / 'saip').iterdir():
        if path.suffix == '.py' or (path / '__init__.py').is_file():
            assert path.stem in {*HEIGHT, '__init__'}, f'{path.name}: give it a floor above'


def test_imports_point_down_and_run_in_no_circle(graph):
    check(graph)


def test_the_ground_floor_imports_nothing(graph):
    ground = FLOORS[-1]
    assert not [edge for edge in graph if edge[0] in ground], drawn(graph)


@pytest.mark.parametrize(
    ('edge', 'message'),
    [
        (('checkpoint', 'models'), r"imports point up: .*'checkpoint', 'models'"),
        (('datasets', 'views'), r"imports point up: .*'datasets', 'views'"),
        (('experiments', 'downstream'), 'a circle: '),
    ],
)
def test_a_wrong_import_would_be_noticed(graph, edge, message):
    wrong = {**graph, edge: ['saip.one -> saip.other']}
    if edge == ('experiments', 'downstream'):
        wrong['downstream', 'experiments'] = ['saip.third -> saip.one']
    with pytest.raises(AssertionError, match=message) as caught:
        check(wrong)
    assert 'saip.one -> saip.other' in str(caught.value)


def test_imports_are_found_wherever_they_stand(tmp_path):
    package = tmp_path / 'saip/checkpoint'
    package.mkdir(parents=True)
    (tmp_path / 'tools').mkdir()
    (package / 'lazy.py').write_text(
        'from typing import TYPE_CHECKING\n'
        'if TYPE_CHECKING:\n    from saip.models import A\n'
        'def f():\n    from ..engine.hooks import B\n    import saip.views.recipe\n'
        'from . import io\n'
    )
    found = read_graph(tmp_path)
    assert set(found) == {('checkpoint', name) for name in ('models', 'engine', 'views')}
