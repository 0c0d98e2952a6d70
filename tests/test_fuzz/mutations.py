"""Damage to files: the same seed gives the same damage."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

STRANGE = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -3.25, 1e308, float('nan'), float('inf')),
    *(10**30, -(10**30), 2**31, 2**63, '', '0', '1', 'a', '\0', '\ud800', 'x' * 300, '../..'),
    *([], {}, [[]], [0], [1, 2, 3, 4], [None], {'a': 1}, 'person', 'train', [[1, 2], [3]]),
)
WORDS = (b'\xff\xff\xff\xff', b'\0\0\0\0', b'\xff\xff\xff\x7f', b'\x80\0\0\0', b'\xef\xbb\xbf')
TEXTS = (b'"', b'{', b'[' * 2000, b'\n', b'\r', b'\t', b'\0', b'-', b'1e999', b'\xe4', b'NaN')


def damage_bytes(random_: random.Random, content: bytes) -> bytes:
    """Change one to four places."""
    data = bytearray(content)
    for _ in range(random_.choice((1, 1, 1, 2, 4))):
        _damage_once(random_, data)
    return bytes(data)


def _damage_once(random_: random.Random, data: bytearray) -> None:
    at = random_.randrange(len(data) + 1)
    length = random_.choice((1, 1, 2, 4, 8, 16, 64, 1000))
    match random_.randrange(9):
        case 0 if data:
            data[at % len(data)] ^= 1 << random_.randrange(8)
        case 1 if data:
            data[at % len(data)] = random_.randrange(256)
        case 2:
            del data[at : at + length]
        case 3:
            data[at:at] = data[at : at + length]
        case 4:
            del data[at:]
        case 5:
            data[at : at + 4] = random_.choice(WORDS)
        case 6:
            data[at:at] = random_.choice((*WORDS, *TEXTS))
        case 7:
            other = random_.randrange(len(data) + 1)
            data[at : at + length] = data[other : other + length]
        case _:
            data[at : at + length] = random_.randbytes(len(data[at : at + length]))


def damage_json(random_: random.Random, document: Any) -> Any:
    """Exchange, remove or repeat one to three values of a JSON document."""
    document = copy.deepcopy(document)
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            return random_.choice(STRANGE)
        owner, key = random_.choice(places)
        match random_.randrange(6):
            case 0:
                del owner[key]
            case 1 if isinstance(owner, list):
                owner.insert(key, copy.deepcopy(random_.choice(owner)))
            case 2 if isinstance(owner, dict):
                owner[random_.choice(('a', '', 'id', str(key).upper()))] = owner.pop(key)
            case 3:
                other, name = random_.choice(places)
                owner[key] = copy.deepcopy(other[name])
            case 4 if isinstance(owner[key], int | float):
                owner[key] = owner[key] * random_.choice((-1, 10, 1e6, 0.001)) + 0.5
            case _:
                owner[key] = copy.deepcopy(random_.choice(STRANGE))
    return document


def _places(node: Any) -> Any:
    """Every value but the root, as its owner and the key in it."""
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _places(node[key])


def damage(random_: random.Random, content: bytes, kind: str) -> bytes:
    """Damage a file: its bytes, or every other time the values in a ``json`` or ``jsonl`` one."""
    if kind == 'bytes' or random_.random() < 0.5:
        return damage_bytes(random_, content)
    if kind == 'json':
        return json.dumps(damage_json(random_, json.loads(content))).encode()
    lines = content.splitlines()
    at = random_.randrange(len(lines))
    lines[at] = json.dumps(damage_json(random_, json.loads(lines[at]))).encode()
    return b'\n'.join(lines) + b'\n'
