"""A walking skeleton in three dimensions and its projection into an image.

Body coordinates, in fractions of the body height: x to the person's left, y up from the ground,
z forward. A view turns the body by ``yaw`` (0 = facing the camera, pi/2 = walking to the right
of the image, pi = seen from behind) and looks down by ``pitch``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .person import Build

SIDES = (('l', 1.0), ('r', -1.0))
ANKLE_HEIGHT = 0.045


@dataclass(frozen=True)
class Arm:
    """How an arm is held, radians; all zero hangs down.

    Attributes:
        lift: of the upper arm, forward and up.
        spread: of the upper arm, away from the body.
        bend: of the elbow, forward.
        fold: of the elbow, away from the body (towards it where negative).
        twist: of the hand about the forearm, see ``scene.hands``; 0 has the thumb in front.
    """

    lift: float
    spread: float
    bend: float
    fold: float = 0.0
    twist: float = 0.0


@dataclass(frozen=True)
class Leg:
    """How a leg is held, radians; all zero is straight.

    Attributes:
        lift: of the thigh, forward.
        spread: of the whole leg, to the side.
        bend: of the knee.
    """

    lift: float
    spread: float
    bend: float


@dataclass(frozen=True)
class Pose:
    """One moment of a walk, or limbs held as stated.

    Attributes:
        phase: where in the stride, radians.
        stride: swing of the thighs, radians; 0 stands still.
        bend: flexion of the elbows, radians.
        lean: forward lean of the trunk, radians.
        arms: left and right, instead of what the walk does with them.
        legs: left and right, instead of what the walk does with them.
    """

    phase: float
    stride: float
    bend: float
    lean: float
    arms: tuple[Arm, Arm] | None = None
    legs: tuple[Leg, Leg] | None = None


@dataclass(frozen=True)
class View:
    """Direction in which the camera sees the body, radians."""

    yaw: float
    pitch: float


def skeleton(build: Build, pose: Pose) -> dict[str, np.ndarray]:
    """Return the joints of a body in body coordinates, each (3,).

    Joints: ``pelvis neck chin crown`` and, with the suffixes ``_l`` and ``_r``, ``shoulder
    elbow wrist hand hip knee ankle toe``.
    """
    joints: dict[str, np.ndarray] = {}
    thigh = (build.hip_height - ANKLE_HEIGHT) * 0.5
    for number, (name, side) in enumerate(SIDES):
        swing = side * np.sin(pose.phase) * pose.stride
        flex = 0.06 + 1.5 * pose.stride * max(0.0, side * np.cos(pose.phase))
        hip = np.array([side * 0.048 * build.hips, 0.0, 0.0])
        if pose.legs is None:
            knee = hip + _sagittal(swing, thigh)
            ankle = knee + _sagittal(swing - flex, thigh)
        else:
            leg = pose.legs[number]
            flex, spread = leg.bend, side * leg.spread
            knee = hip + _bone(leg.lift, spread, thigh)
            ankle = knee + _bone(leg.lift - leg.bend, spread, thigh)
        toe = ankle + np.array([side * 0.02, -0.022 - 0.07 * np.sin(flex * 0.5), 0.075])
        joints |= {f'hip_{name}': hip, f'knee_{name}': knee}
        joints |= {f'ankle_{name}': ankle, f'toe_{name}': toe}
    lowest = min(joints['ankle_l'][1], joints['ankle_r'][1])
    for joint in joints.values():
        joint[1] += ANKLE_HEIGHT - lowest
    joints['pelvis'] = (joints['hip_l'] + joints['hip_r']) / 2
    joints |= _trunk_and_arms(build, pose, joints['pelvis'])
    return joints


def _trunk_and_arms(build: Build, pose: Pose, pelvis: np.ndarray) -> dict[str, np.ndarray]:
    trunk = 0.855 - build.hip_height
    up = -_sagittal(-pose.lean, 1.0)
    neck = pelvis + trunk * up
    joints = {
        'neck': neck,
        'chin': neck + 0.03 * up + np.array([0.0, 0.0, 0.006]),
        'crown': neck + (0.025 + 0.122 * build.head) * up + np.array([0.0, 0.0, 0.012]),
    }
    for number, (name, side) in enumerate(SIDES):
        swing = -0.8 * side * np.sin(pose.phase) * pose.stride
        shoulder = neck - 0.056 * up + np.array([side * 0.098 * build.shoulders, 0.0, 0.0])
        if pose.arms is None:
            elbow = shoulder + _sagittal(swing, 0.165) + np.array([side * 0.024, 0.0, 0.0])
            wrist = elbow + _sagittal(swing + pose.bend, 0.145)
            hand = wrist + _sagittal(swing + pose.bend, 0.035)
        else:
            arm = pose.arms[number]
            lift, spread = arm.lift + arm.bend, side * (arm.spread + arm.fold)
            elbow = shoulder + _bone(arm.lift, side * arm.spread, 0.165)
            wrist = elbow + _bone(lift, spread, 0.145)
            hand = wrist + _bone(lift, spread, 0.035)
        joints |= {f'shoulder_{name}': shoulder, f'elbow_{name}': elbow}
        joints |= {f'wrist_{name}': wrist, f'hand_{name}': hand}
    return joints


def project(joints: dict[str, np.ndarray], view: View) -> dict[str, np.ndarray]:
    """Turn joints into (x right, y down, nearness to the camera), in body heights."""
    cos, sin = np.cos(view.yaw), np.sin(view.yaw)
    projected = {}
    for name, (x, y, z) in joints.items():
        near = z * cos - x * sin
        down = near * np.sin(view.pitch) - y * np.cos(view.pitch)
        projected[name] = np.array([x * cos + z * sin, down, near])
    return projected


def _sagittal(angle: float, length: float) -> np.ndarray:
    """A bone that hangs down, swung forward by ``angle``."""
    return np.array([0.0, -np.cos(angle) * length, np.sin(angle) * length])


def _bone(lift: float, spread: float, length: float) -> np.ndarray:
    """A bone that hangs down, swung forward by ``lift`` and then to the left by ``spread``."""
    hanging, forward = np.cos(lift) * length, np.sin(lift) * length
    return np.array([np.sin(spread) * hanging, -np.cos(spread) * hanging, forward])
