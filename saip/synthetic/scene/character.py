"""A person of a scene: a synthetic person with an age, a sex and what they wear besides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..person import Color, Person, sample_person
from ..rng import CHARACTER, between, chance, choose, generator

ADULT, OLD = 18, 60
GRAY: Color = (178, 176, 174)


@dataclass(frozen=True)
class Character:
    """An identity of the scenes.

    Attributes:
        person: build, hair, garments, bag, hat.
        female: sex; it shows in build, hair and garments.
        age: in years; children are small with large heads, old people gray and bent.
        glasses: ``none``, ``glasses`` or ``sunglasses``.
        scarf: its color; None without one.
        gloves: their color; None without them.
        socks: their color where the shanks are bare; None without them.
        boots: the shoes reach up the shanks.
        held: color of a box held in front with both hands; None without one.
    """

    person: Person
    female: bool
    age: int
    glasses: str
    scarf: Color | None
    gloves: Color | None
    socks: Color | None
    boots: bool
    held: Color | None

    @property
    def stature(self) -> float:
        """Body height relative to an adult."""
        if self.age < ADULT:
            return 0.6 + 0.4 * self.age / ADULT
        return 0.96 if self.age >= OLD else 1.0

    @property
    def bare_shanks(self) -> bool:
        """Whether garments end above the knees."""
        person = self.person
        return person.upper.kind == 'dress' or person.lower.kind in ('skirt', 'shorts')


def sample_character(seed: int, identity: int) -> Character:
    """Draw an identity; depends on nothing but the two numbers."""
    rng = generator(seed, CHARACTER, identity)
    female = chance(rng, 0.5)
    low, high = choose(rng, ((6, ADULT), (ADULT, OLD), (OLD, 82)), (1.0, 2.6, 1.0))
    age = int(rng.integers(low, high))
    person = _aged(rng, _sexed(rng, sample_person(seed, identity), female), age)
    return Character(
        person=person,
        female=female,
        age=age,
        glasses=choose(rng, ('none', 'glasses', 'sunglasses'), (5, 1.6, 1.2)),
        scarf=_bright(rng) if chance(rng, 0.15) else None,
        gloves=_bright(rng) if chance(rng, 0.1) else None,
        socks=_bright(rng) if chance(rng, 0.5) else None,
        boots=chance(rng, 0.18),
        held=_bright(rng) if person.bag.kind == 'none' and chance(rng, 0.45) else None,
    )


def _sexed(rng: np.random.Generator, person: Person, female: bool) -> Person:
    """Give a person the build, the hair and the garments of the sex they are."""
    build = person.build
    if female:
        build = replace(build, shoulders=build.shoulders * 0.9, hips=build.hips * 1.08)
        style = choose(rng, ('long', 'bob', 'bun', 'short'), (4.0, 2.5, 1.6, 0.6))
        upper, lower = person.upper, person.lower
        if chance(rng, 0.22):
            upper = replace(upper, kind='dress')
        if chance(rng, 0.3):
            lower = replace(lower, kind='skirt')
    else:
        build = replace(build, shoulders=build.shoulders * 1.06, hips=build.hips * 0.94)
        style = choose(rng, ('short', 'bald', 'bob'), (6.0, 1.0, 0.25))
        upper, lower = person.upper, person.lower
        upper = replace(upper, kind='tshirt') if upper.kind == 'dress' else upper
        lower = replace(lower, kind='trousers') if lower.kind == 'skirt' else lower
    hair = replace(person.hair, style=style)
    return replace(person, build=build, upper=upper, lower=lower, hair=hair)


def _aged(rng: np.random.Generator, person: Person, age: int) -> Person:
    if age < ADULT:
        young = 1 - age / ADULT
        build = replace(
            person.build,
            head=person.build.head * (1.0 + 0.45 * young),
            hip_height=person.build.hip_height * (1 - 0.06 * young),
        )
        return replace(person, build=build)
    if age >= OLD:
        red, green, blue = (value + between(rng, -14, 40) for value in GRAY)
        return replace(person, hair=replace(person.hair, color=(red, green, blue)))
    return person


def _bright(rng: np.random.Generator) -> Color:
    red, green, blue = (between(rng, 40, 225) for _ in range(3))
    return (red, green, blue)
