"""How people of a scene hold themselves."""

from __future__ import annotations

import numpy as np

from ..pose import Arm, Leg, Pose
from ..rng import between, chance, choose
from .character import OLD, Character

KINDS = ('walk', 'stand', 'wave', 'point', 'cheer', 'akimbo', 'lunge', 'squat', 'kick')
WEIGHTS = (4.0, 3.0, 1.5, 1.2, 1.0, 1.0, 0.8, 0.8, 0.8)


def sample_pose(rng: np.random.Generator, character: Character, lively: bool) -> Pose:
    """Draw a pose that suits a character.

    Args:
        rng: source of all choices.
        character: who poses; somebody who holds a box needs both arms for it.
        lively: all kinds of poses, not only walking and standing.
    """
    kind = choose(rng, KINDS, WEIGHTS) if lively else choose(rng, KINDS[:2], WEIGHTS[:2])
    lean = between(rng, -0.03, 0.1) + (0.16 if character.age >= OLD else 0.0)
    legs = _legs(rng, kind)
    if kind == 'squat':
        lean += 0.25
    arms = (_arm(rng, kind, first=True), _arm(rng, kind, first=False))
    if chance(rng, 0.5):
        arms = (arms[1], arms[0])
    if character.held is not None:
        arms = _holding(rng)
    if kind == 'walk':
        stride = between(rng, 0.22, 0.5)
        swinging = character.held is None
        phase, bend = between(rng, 0, 2 * np.pi), between(rng, 0.1, 0.8)
        return Pose(phase, stride, bend, lean, arms=None if swinging else arms)
    return Pose(0.0, 0.0, 0.0, lean, arms=arms, legs=legs)


def _holding(rng: np.random.Generator) -> tuple[Arm, Arm]:
    lift, bend = between(rng, 0.15, 0.45), between(rng, 1.0, 1.4)
    arm = Arm(lift, 0.12, bend, fold=-0.55, twist=between(rng, -0.3, 0.3))
    return arm, arm


def _arm(rng: np.random.Generator, kind: str, first: bool) -> Arm:
    hanging = Arm(
        lift=between(rng, -0.25, 0.35),
        spread=between(rng, 0.05, 0.3),
        bend=between(rng, 0.05, 0.7),
        twist=between(rng, -0.6, 0.6),
    )
    twist = between(rng, -0.8, 0.8)
    if kind == 'cheer':
        spread = between(rng, 1.9, 2.7)
        return Arm(between(rng, -0.2, 0.3), spread, 0.0, between(rng, 0.0, 0.5), twist)
    if kind == 'akimbo':
        return Arm(between(rng, -0.2, 0.1), between(rng, 0.6, 0.85), 0.25, -1.35, twist)
    if kind == 'wave' and first:
        spread = between(rng, 0.9, 1.6)
        return Arm(between(rng, -0.1, 0.3), spread, 0.0, between(rng, 0.9, 1.5), np.pi / 2)
    if kind in ('point', 'lunge') and first:
        return Arm(between(rng, 1.1, 1.8), between(rng, 0.0, 0.9), 0.1, 0.0, twist)
    if kind in ('squat', 'kick'):
        return Arm(
            between(rng, 0.3, 1.3), between(rng, 0.1, 0.9), between(rng, 0, 0.6), 0, twist
        )
    return hanging


def _legs(rng: np.random.Generator, kind: str) -> tuple[Leg, Leg]:
    if kind == 'squat':
        lift, spread = between(rng, 0.9, 1.5), between(rng, 0.15, 0.5)
        leg = Leg(lift, spread, lift + between(rng, 0.4, 0.7))
        return leg, leg
    apart = between(rng, 0.02, 0.28 if kind in ('cheer', 'akimbo') else 0.14)
    resting = Leg(between(rng, -0.05, 0.1), apart, between(rng, 0.03, 0.15))
    other = resting
    if kind == 'lunge':
        resting = Leg(-between(rng, 0.3, 0.5), apart, between(rng, 0.1, 0.3))
        other = Leg(between(rng, 0.6, 1.0), apart, between(rng, 0.8, 1.1))
    if kind == 'kick':
        other = Leg(
            between(rng, 0.6, 1.3), apart + between(rng, 0, 0.3), between(rng, 0.1, 0.8)
        )
    return (resting, other) if chance(rng, 0.5) else (other, resting)
