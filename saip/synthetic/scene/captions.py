"""Captions: what is seen of a person, in plain English of many wordings."""

from __future__ import annotations

import re

import numpy as np

from ..person import Color
from ..rng import CAPTION, chance, generator
from .appearance import Appearance
from .character import ADULT, OLD

# Colors in words that a viewer would use.
COLORS: dict[str, Color] = {
    'black': (34, 34, 38),
    'dark gray': (68, 70, 76),
    'gray': (128, 130, 134),
    'white': (222, 222, 218),
    'navy': (38, 48, 92),
    'blue': (62, 102, 176),
    'denim blue': (86, 112, 150),
    'red': (176, 46, 50),
    'dark red': (108, 38, 56),
    'green': (58, 118, 72),
    'olive': (98, 98, 62),
    'beige': (196, 178, 146),
    'brown': (110, 80, 58),
    'yellow': (212, 176, 62),
    'pink': (208, 140, 158),
    'teal': (52, 128, 134),
    'purple': (120, 70, 150),
    'orange': (214, 120, 50),
    'light green': (120, 200, 110),
    'light blue': (120, 180, 220),
}
HAIR_COLORS: dict[str, Color] = {
    'black': (28, 24, 24),
    'dark brown': (58, 42, 34),
    'brown': (98, 68, 44),
    'blond': (176, 138, 84),
    'red': (140, 72, 44),
    'gray': (166, 164, 160),
}
_UPPER = {
    'tshirt': ('t-shirt', 'short-sleeved t-shirt', 'tee'),
    'shirt': ('shirt', 'long-sleeved shirt', 'button-up shirt'),
    'hoodie': ('hoodie', 'hooded sweatshirt', 'hooded top'),
    'jacket': ('jacket', 'open jacket', 'short jacket'),
    'coat': ('coat', 'long coat', 'open coat'),
    'vest': ('tank top', 'sleeveless top', 'sleeveless shirt'),
    'dress': ('dress', 'short-sleeved dress'),
}
_LOWER = {
    'trousers': ('trousers', 'pants', 'long pants'),
    'shorts': ('shorts', 'short pants', 'knee-length shorts'),
    'skirt': ('skirt', 'short skirt'),
}
_PATTERNS = {
    'stripes': ('with horizontal {0} stripes', 'with {0} stripes across it'),
    'bars': ('with vertical {0} stripes', 'with {0} stripes running down'),
    'checks': ('with {0} checks', 'in a {0} plaid'),
    'block': ('with a wide {0} band around the chest', 'with a {0} block in the middle'),
    'logo': ('with a {0} print', 'with a round {0} logo'),
    'seam': ('with {0} stripes down the sides', 'with {0} side stripes'),
}
_HAIR = {
    'short': ('has short {0} hair', "'s hair is short and {0}"),
    'long': ('has long {0} hair', "'s {0} hair is long"),
    'bob': ('has chin-length {0} hair', "'s {0} hair ends at the chin"),
    'bun': ('has {0} hair tied in a bun', 'wears {0} hair in a bun'),
    'bald': ('is bald', 'has a bald head'),
}
_BAGS = {
    'backpack': ('carries a {0} backpack', 'has a {0} backpack on', 'wears a {0} rucksack'),
    'shoulder': ('has a {0} bag over one shoulder', 'carries a {0} shoulder bag'),
    'handbag': ('holds a {0} handbag', 'carries a {0} bag in one hand'),
}
_OPENINGS = (
    'A {who} {moves} in {wear}.',
    'The {who} wears {wear}.',
    'This {who} is dressed in {wear}.',
    'A {who} wearing {wear} is {view}.',
    'The {who}, {view}, has on {wear}.',
    'A {moving} {who} with {wear}.',
)


def captions(appearance: Appearance, key: tuple[int, ...], count: int) -> list[str]:
    """Describe somebody ``count`` times, each time in other words.

    All that is said is drawn and can be seen; not all that can be seen is said.

    Args:
        appearance: what the image shows of whom it is about.
        key: seed and further numbers that no other image of the set has.
        count: of captions, at most ``len(_OPENINGS)``.
    """
    openings = generator(key[0], CAPTION, *key[1:]).permutation(len(_OPENINGS))
    return [
        _describe(
            appearance, _OPENINGS[opening], generator(key[0], CAPTION, *key[1:], turn + 1)
        )
        for turn, opening in enumerate(openings[:count])
    ]


def color_word(color: Color, words: dict[str, Color] = COLORS) -> str:
    """Return the name of the nearest color."""

    def distance(word: str) -> float:
        return sum((a - b) ** 2 for a, b in zip(color, words[word], strict=True))

    return min(words, key=distance)


def _describe(appearance: Appearance, opening: str, rng: np.random.Generator) -> str:
    first = opening.format(
        who=_who(appearance, rng),
        wear=_listed(_worn(appearance, rng)),
        view=_view(appearance),
        moves='walks' if appearance.walking else 'stands',
        moving='walking' if appearance.walking else 'standing',
    )
    pronoun, owner = ('She', 'Her') if appearance.character.female else ('He', 'His')
    facts = [fact for fact in _facts(appearance, rng) if chance(rng, 0.85)]
    if '{view}' not in opening and chance(rng, 0.85):
        facts.append(f'is {_view(appearance)}')
    sentences = [first]
    for place in rng.permutation(len(facts)):
        fact = facts[place]
        whole = f'{owner}{fact[2:]}.' if fact.startswith("'s") else f'{pronoun} {fact}.'
        sentences.append(whole)
    return re.sub(r'\b([Aa]) (?=[aeiou])', r'\1n ', ' '.join(sentences))


def _who(appearance: Appearance, rng: np.random.Generator) -> str:
    female, age = appearance.character.female, appearance.character.age
    if age < ADULT:
        return 'girl' if female else 'boy'
    if age >= OLD:
        return _one(rng, ('old ', 'elderly ')) + ('woman' if female else 'man')
    return _one(rng, ('woman', 'lady') if female else ('man', 'male pedestrian'))


def _worn(appearance: Appearance, rng: np.random.Generator) -> list[str]:
    """Garments from top to bottom, each with article and color."""
    person, found = appearance.character.person, []
    if appearance.trunk:
        upper = person.upper
        pattern = '' if upper.pattern == 'logo' and not appearance.logo else upper.pattern
        words = _garment(rng, upper.color, _UPPER[appearance.upper], pattern, upper.second)
        if appearance.upper in ('jacket', 'coat') and appearance.inner:
            words += f' over a {color_word(person.inner)} {_one(rng, ("shirt", "top"))}'
        found.append(words)
    if appearance.legs and appearance.lower != 'dress':
        lower = person.lower
        found.append(
            _garment(rng, lower.color, _LOWER[appearance.lower], lower.pattern, lower.second)
        )
    if appearance.feet:
        found.append(f'{color_word(person.shoes)} {"boots" if appearance.boots else "shoes"}')
    return found


def _garment(
    rng: np.random.Generator, color: Color, words: tuple[str, ...], pattern: str, second: Color
) -> str:
    name = _one(rng, words)
    plural = name.endswith(('trousers', 'pants', 'shorts'))
    text = f'{"" if plural else "a "}{color_word(color)} {name}'
    if pattern in _PATTERNS:
        text += ' ' + _one(rng, _PATTERNS[pattern]).format(color_word(second))
    return text


def _facts(appearance: Appearance, rng: np.random.Generator) -> list[str]:
    """What else is seen, as ends of sentences that begin with a pronoun."""
    character, person = appearance.character, appearance.character.person
    found = []
    if appearance.bald or (appearance.hair and person.hair.style != 'bald'):
        hair = color_word(person.hair.color, HAIR_COLORS)
        found.append(_one(rng, _HAIR[person.hair.style]).format(hair))
    if appearance.hat and person.hat is not None:
        found.append(f'wears a {color_word(person.hat)} {_one(rng, ("cap", "hat"))}')
    if appearance.glasses:
        found.append('wears glasses')
    if appearance.sunglasses:
        found.append(f'wears {_one(rng, ("sunglasses", "dark sunglasses"))}')
    for seen, color, name in (
        (appearance.scarf, character.scarf, 'a {0} scarf'),
        (appearance.gloves, character.gloves, '{0} gloves'),
        (appearance.socks, character.socks, '{0} socks'),
    ):
        if seen and color is not None:
            found.append(f'{_one(rng, ("wears", "has"))} {name.format(color_word(color))}')
    if appearance.bag != 'none':
        found.append(_one(rng, _BAGS[appearance.bag]).format(color_word(person.bag.color)))
    if appearance.held and character.held is not None:
        verb = _one(rng, ('holds', 'carries'))
        found.append(f'{verb} a {color_word(character.held)} box in both hands')
    return found


def _view(appearance: Appearance) -> str:
    if abs(appearance.facing) < 0.5:
        return 'seen from the side'
    return 'facing the camera' if appearance.facing > 0 else 'seen from behind'


def _listed(words: list[str]) -> str:
    """Join with commas and *and*."""
    if len(words) < 2:
        return words[0] if words else 'clothes that are hardly seen'
    return f'{", ".join(words[:-1])} and {words[-1]}'


def _one(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]
