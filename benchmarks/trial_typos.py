"""Misspell keys in configurations that inherit the shipped ones: what is refused, with which hint.

    python benchmarks/trial_typos.py [--per-leaf 100] [--missed]

Every trial is one key of a shipped leaf, written again with one slip of the fingers: in a dict it
stands beside the right one, as in a configuration that inherits the leaf; in a list, which such a
configuration has to write anew, it replaces it. The keys, the slips and thus the figures are the
same in every run. Nothing is built: the figures are those of the checks that read the configuration
alone, before data or weights are touched. Each leaf as it is has to pass, or is a false alarm.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from saip.engine.preflight import check_config
from saip.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SLIPS = ('dropped', 'doubled', 'swapped', 'wrong', 'underscore')


@dataclass(frozen=True)
class Typo:
    """A key of a configuration and how it is misspelled.

    Attributes:
        path: keys and places from the top.
        slip: one of ``SLIPS``.
        wrong: what is written for the last key of the path.
    """

    path: tuple[str | int, ...]
    slip: str
    wrong: str

    def __str__(self) -> str:
        return f'{".".join(map(str, self.path))} -> {self.wrong} ({self.slip})'


def leaves() -> list[Path]:
    """The shipped configurations that are run."""
    found = [*ROOT.glob('configs/pretrain/*/*.py'), *ROOT.glob('configs/downstream/*/*.py')]
    return sorted(path for path in found if '_base_' not in path.parts)


def misspelled(key: str, slip: str, rng: random.Random) -> str:
    """A key with one slip; the key itself where it has no place for it."""
    at = rng.randrange(len(key))
    match slip:
        case 'dropped':
            return key[:at] + key[at + 1 :]
        case 'doubled':
            return key[: at + 1] + key[at:]
        case 'swapped':
            at = min(at, len(key) - 2)
            return key[:at] + key[at + 1] + key[at] + key[at + 2 :] if at >= 0 else key
        case 'wrong':
            return key[:at] + rng.choice('abcdefghijklmnopqrstuvwxyz') + key[at + 1 :]
        case _:
            return key.replace('_', '', 1) if '_' in key else f'{key[:at]}_{key[at:]}'


def keys_of(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of all keys of a configuration, those in lists included."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key)
            yield from keys_of(value, (*path, key))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from keys_of(value, (*path, number))


def typos_of(cfg: Config, number: int, rng: random.Random) -> list[Typo]:
    """Misspell some of the keys that a run reads."""
    read = set(Runner.__init__.__code__.co_varnames)
    every = [
        path
        for path in keys_of(cfg._cfg_dict.to_dict())
        if path[0] in read and isinstance(path[-1], str) and len(path[-1]) > 2
    ]
    typos = []
    for path in rng.sample(every, min(number, len(every))):
        slip = rng.choice(SLIPS)
        wrong = misspelled(str(path[-1]), slip, rng)
        if wrong.isidentifier() and wrong not in parent_of(cfg, path):
            typos.append(Typo(path, slip, wrong))
    return typos


def parent_of(cfg: Config, path: tuple[str | int, ...]) -> dict[str, Any]:
    """The dict in which the last key of a path stands."""
    node: Any = cfg._cfg_dict
    for key in path[:-1]:
        node = node[key]
    return node


@contextmanager
def written(cfg: Config, typo: Typo) -> Iterator[None]:
    """Change a configuration as the text of one that inherits it would, for a block."""
    node = parent_of(cfg, typo.path)
    before = dict(node)
    node[typo.wrong] = before[typo.path[-1]]
    if any(isinstance(key, int) for key in typo.path):
        del node[typo.path[-1]]
    try:
        yield
    finally:
        node.clear()
        node.update(before)


def hint_of(cfg: Config) -> str | None:
    """What is said of a configuration; None if it is accepted."""
    try:
        check_config(cfg)
    except InputError as error:
        return str(error)
    return None


def is_right(said: str, typo: Typo) -> bool:
    """Whether a message suggests the key that was meant."""
    return re.search(rf'did you mean {str(typo.path[-1])!r}', said) is not None


def run(paths: list[Path], per_leaf: int, show_missed: bool) -> Counter[str]:
    """Try misspelled keys in some leaves; print and return what was counted."""
    counts: Counter[str] = Counter()
    for path in paths:
        cfg = Config.fromfile(path)
        began = time.perf_counter()
        if (said := hint_of(cfg)) is not None:
            counts['false alarms'] += 1
            print(f'false alarm: {said}')
            continue
        for typo in typos_of(cfg, per_leaf, random.Random(path.stem)):
            with written(cfg, typo):
                said = hint_of(cfg)
            outcome = 'accepted' if said is None else 'wrong hint'
            outcome = 'right hint' if said is not None and is_right(said, typo) else outcome
            counts.update((outcome, f'{typo.slip}: {outcome}'))
            if show_missed and outcome != 'right hint':
                print(f'{outcome}: {typo}' + (f': {said[-90:]}' if said else ''))
        counts['milliseconds'] += int(1000 * (time.perf_counter() - began))
    return counts


def report(counts: Counter[str], number: int) -> str:
    """The figures as lines of text."""

    def share(prefix: str) -> tuple[int, str]:
        right, wrong, accepted = (
            counts[prefix + name] for name in ('right hint', 'wrong hint', 'accepted')
        )
        total = right + wrong + accepted
        if not total:
            return 0, 'none'
        refused = 100 * (right + wrong) / total
        return total, f'{refused:.1f} % refused, {100 * right / total:.1f} % with the right key'

    total, stated = share('')
    lines = [f'{total} misspelled keys in {number} configurations: {stated}']
    for slip in SLIPS:
        part, stated = share(f'{slip}: ')
        lines.append(f'  {slip:<10} {part:>5}: {stated}')
    lines.append(f'false alarms on {number} configurations: {counts["false alarms"]}')
    lines.append(f'{counts["milliseconds"] / max(total, 1):.1f} ms per check')
    return '\n'.join(lines)


def main() -> None:
    """Run the trial and print its figures; exit status 1 below the promised ones."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--per-leaf', type=int, default=100, help='keys of each configuration')
    parser.add_argument('--missed', action='store_true', help='print what has no right hint')
    args = parser.parse_args()
    paths = leaves()
    counts = run(paths, args.per_leaf, args.missed)
    print(report(counts, len(paths)))
    refused = counts['right hint'] + counts['wrong hint']
    total = refused + counts['accepted']
    kept = refused >= 0.95 * total and counts['right hint'] >= 0.9 * total
    sys.exit(0 if kept and not counts['false alarms'] else 1)


if __name__ == '__main__':
    main()
