"""One model of a scene: what is annotated is what was drawn."""

from dataclasses import replace

import numpy as np
import pytest

from saip.synthetic.draw import Body, Figure, Placement
from saip.synthetic.formats.pa100k import pa100k_attributes
from saip.synthetic.formats.peta import peta_attributes
from saip.synthetic.pose import Arm, Leg, Pose, View, skeleton
from saip.synthetic.scene import landmarks as marks
from saip.synthetic.scene.actor import Actor
from saip.synthetic.scene.appearance import Appearance
from saip.synthetic.scene.character import sample_character
from saip.synthetic.scene.hands import hand_joints
from saip.synthetic.scene.parts import CODES, LIP, LIP_LABELS, code, lip_table
from saip.synthetic.scene.plan import Crowding, plan_crowd, plan_portrait
from saip.synthetic.scene.render import box_of, render_scene
from saip.synthetic.scene.scene import Thing

CROWD = Crowding((3, 6), (0.3, 0.9), huddle=0.6, far_group=0.3)
SIZE = (160, 224)
STANDING = Pose(
    0.0,
    0.0,
    0.0,
    0.0,
    arms=(Arm(0.0, 0.35, 0.2), Arm(0.0, 0.35, 0.2)),
    legs=(Leg(0.0, 0.12, 0.05), Leg(0.0, 0.12, 0.05)),
)


@pytest.fixture(scope='module')
def crowds():
    return [render_scene(plan_crowd(3, number, SIZE, CROWD)) for number in range(6)]


def people(rendered):
    return [n for n, seen in enumerate(rendered.seen) if seen.subject.group == 0]


def portrait(character, pose=STANDING, yaw=0.0, things=(), size=(240, 160), tall=0.92):
    """Draw one person alone, facing the camera; returns the actor and what was drawn."""
    scene = plan_portrait(0, 0, 0, size)
    actor = Actor(
        character, Figure(character.person, pose, View(yaw, 0.1), Placement(0.5, 0.96, tall))
    )
    camera = replace(scene.camera, sharpness=1.0)
    changes = dict(subjects=(actor,), things=things, camera=camera, main=0)
    return actor, render_scene(replace(scene, **changes))


def plain_character(identity=1, **changes):
    """A character with nothing that hides anything, in trousers and a plain shirt."""
    character = sample_character(0, identity)
    person = character.person
    person = replace(
        person,
        upper=replace(person.upper, kind='shirt', pattern='plain'),
        lower=replace(person.lower, kind='trousers', pattern='plain'),
        hair=replace(person.hair, style='short'),
        bag=replace(person.bag, kind='none'),
        hat=None,
    )
    bare = dict(glasses='none', scarf=None, gloves=None, socks=None, boots=False, held=None)
    return replace(character, person=person, age=30, **bare | changes)


def with_person(character, **changes):
    return replace(character, person=replace(character.person, **changes))


def test_visible_box_is_that_of_the_visible_pixels_and_lies_in_the_full_box(crowds):
    for rendered in crowds:
        for number in people(rendered):
            visible, full = rendered.visible(number), rendered.seen[number].full
            if visible is None:
                continue
            rows, columns = np.nonzero(rendered.mask(number))
            assert visible == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert full[0] <= visible[0] <= visible[2] <= full[2]
            assert full[1] <= visible[1] <= visible[3] <= full[3]


def test_nobody_shares_a_pixel(crowds):
    for rendered in crowds:
        masks = [rendered.mask(number) for number in range(len(rendered.seen))]
        assert np.sum(masks, axis=0).max() == 1


def test_head_box_lies_in_the_full_box_and_holds_the_face(crowds):
    for rendered in crowds:
        for number in people(rendered):
            seen = rendered.seen[number]
            x0, y0, x1, y1 = seen.head
            assert seen.full[0] <= x0 < x1 <= seen.full[2]
            assert seen.full[1] <= y0 < y1 <= seen.full[3]
            points = np.concatenate([seen.landmarks[:5], seen.landmarks[marks.FACE]])
            for x, y, state in points:
                if state:
                    assert x0 - 1 <= x + 0.5 <= x1 + 1, (number, x, seen.head)
                    assert y0 - 1 <= y + 0.5 <= y1 + 1


def test_visible_landmarks_lie_on_visible_pixels_of_the_same_person(crowds):
    checked = 0
    for rendered in crowds:
        for number in people(rendered):
            mask = np.pad(rendered.mask(number), 1)
            for x, y, state in rendered.seen[number].landmarks:
                if state == 2:
                    row, column = int(y + 0.5), int(x + 0.5)
                    assert mask[row : row + 3, column : column + 3].any()
                    checked += 1
    assert checked > 500


@pytest.mark.parametrize('identity', range(4))
def test_landmarks_of_a_whole_person_lie_on_their_parts(identity):
    character = plain_character(identity)
    _, rendered = portrait(character)
    labels = rendered.parts(0, lip_table(character))
    points = rendered.seen[0].landmarks
    assert (points[:, 2] > 0).all(), 'all of the body is in the image'

    def label(index):
        x, y, _ = points[index]
        return LIP_LABELS[labels[int(y + 0.5), int(x + 0.5)]]

    for index in range(3):
        assert label(index) == 'Face'
    for index in (5, 6, 7, 8):
        assert label(index) == 'Upper-clothes'
    for index in (11, 12, 13, 14):
        assert label(index) in ('Pants', 'Upper-clothes')
    for side, hand, foot in (
        ('Left', marks.LEFT_HAND, slice(17, 20)),
        ('Right', marks.RIGHT_HAND, slice(20, 23)),
    ):
        on_hand = [label(index) == f'{side}-arm' for index in range(133)[hand]]
        # The wrist may lie under the cuff, and a fingertip on the rim of a pixel.
        assert sum(on_hand) >= 17
        assert [label(index) for index in range(133)[foot]].count(f'{side}-shoe') >= 2
    on_face = [label(index) == 'Face' for index in range(133)[marks.FACE]]
    assert sum(on_face) >= 60
    assert (points[:, 2] == 2).sum() >= 125


def test_left_is_left_of_the_person():
    for yaw, sign in ((0.0, 1), (np.pi, -1)):
        _, rendered = portrait(plain_character(), yaw=yaw)
        points = rendered.seen[0].landmarks
        for left in (5, 7, 9, 11, 13, 15):
            # Facing the camera, somebody's left is right in the image.
            assert sign * (points[left, 0] - points[left + 1, 0]) > 0


def test_a_face_turned_away_is_not_labeled_and_hidden_joints_are_hidden():
    _, rendered = portrait(plain_character(), yaw=np.pi)
    points = rendered.seen[0].landmarks
    assert rendered.seen[0].turned_away
    assert not points[:3, 2].any()
    _, rendered = portrait(plain_character(), yaw=np.pi / 2)
    points = rendered.seen[0].landmarks
    # Seen walking to the right of the image, one side is in front of the other.
    shoulders = sorted(points[5:7, 2])
    assert shoulders == [1, 2]


def test_what_stands_in_front_hides():
    character = plain_character()
    _, free = portrait(character)
    post = Thing('hedge', 0.5, 0.99, 0.92, (60, 90, 60))
    _, covered = portrait(character, things=(post,))
    before, after = free.seen[0].landmarks, covered.seen[0].landmarks
    # The ankles go, and since nothing of the body is seen around them, they are not labeled.
    assert (before[15:17, 2] == 2).all()
    assert not after[15:17, 2].any()
    assert (after[5:7, 2] == 2).all()
    assert covered.visible(0)[3] < free.visible(0)[3] - 20
    assert covered.seen[0].full == pytest.approx(free.seen[0].full, abs=1)


def test_full_box_of_somebody_half_outside_is_that_of_the_whole():
    character = plain_character()
    actor, whole = portrait(character)
    scene = plan_portrait(0, 0, 0, (240, 160))
    moved = replace(actor, figure=replace(actor.figure, place=Placement(0.0, 0.96, 0.92)))
    half = render_scene(replace(scene, subjects=(moved,)))
    x0, y0, x1, y1 = whole.seen[0].full
    assert half.seen[0].full == pytest.approx((x0 - 80, y0, x1 - 80, y1), abs=1.01)
    assert half.visible(0)[0] == 0
    assert half.seen[0].full[0] < -10


def test_the_part_map_is_what_is_drawn():
    """Garments in colors that nothing else has: their pixels are those of their labels."""
    character = plain_character(gloves=(20, 20, 230))
    upper = replace(character.person.upper, color=(230, 20, 20))
    lower = replace(character.person.lower, color=(20, 220, 20))
    character = with_person(character, upper=upper, lower=lower)
    _, rendered = portrait(character, size=(320, 200))
    labels = rendered.parts(0, lip_table(character))
    image = rendered.image.astype(int)
    others = image.sum(-1)[..., None] - image
    strong = 2 * image - others > 60
    for channel, name in ((0, 'Upper-clothes'), (1, 'Pants'), (2, 'Glove')):
        drawn, labeled = strong[..., channel], labels == LIP[name]
        if name == 'Upper-clothes':
            # The collar of a shirt is of another color.
            labeled &= rendered.owners % CODES != code('inner')
        both = (drawn & labeled).sum()
        assert both / (drawn | labeled).sum() > 0.85, name


def test_bags_hide_the_body_but_do_not_belong_to_it():
    character = plain_character()
    bag = replace(character.person.bag, kind='backpack')
    _, free = portrait(character, yaw=np.pi)
    _, laden = portrait(with_person(character, bag=bag), yaw=np.pi)
    hidden = free.mask(0) & ~laden.mask(0)
    assert hidden.sum() > 200
    assert (laden.owners[hidden] % CODES == code('bag')).mean() > 0.9


def test_attributes_are_those_that_are_drawn():
    character = plain_character()

    def attributes(character, yaw=0.0):
        _, rendered = portrait(character, yaw=yaw)
        return {
            name for name, is_so in pa100k_attributes(Appearance(rendered, 0)).items() if is_so
        }

    sex = {'Female'} if character.female else set()
    base = sex | {'Age18-60', 'Front', 'LongSleeve', 'Trousers'}
    assert attributes(character) == base
    person = character.person
    hat = with_person(character, hat=(200, 30, 30))
    assert attributes(hat) - base == {'Hat'}
    shades = replace(character, glasses='sunglasses')
    assert attributes(shades) - base == {'Glasses'}
    # From behind nobody can see them.
    assert attributes(shades, yaw=np.pi) == base - {'Front'} | {'Back'}
    short = replace(person.upper, kind='tshirt', pattern='checks')
    found = attributes(with_person(character, upper=short))
    assert found == base - {'LongSleeve'} | {'ShortSleeve', 'UpperPlaid'}
    skirt = replace(person.lower, kind='skirt')
    found = attributes(with_person(character, lower=skirt))
    assert found == base - {'Trousers'} | {'Skirt&Dress'}
    for kind, name in (
        ('backpack', 'Backpack'),
        ('handbag', 'HandBag'),
        ('shoulder', 'ShoulderBag'),
    ):
        bag = replace(person.bag, kind=kind)
        assert attributes(with_person(character, bag=bag)) - base == {name}
    assert attributes(replace(character, boots=True)) - base == {'boots'}
    assert 'AgeLess18' in attributes(replace(character, age=9))
    assert 'AgeOver60' in attributes(replace(character, age=70))
    assert 'Side' in attributes(character, yaw=np.pi / 2)


def test_attributes_of_peta_name_groups_completely():
    for identity in range(8):
        rendered = render_scene(plan_portrait(0, identity, 0, (160, 80)))
        appearance = Appearance(rendered, rendered.main)
        row = peta_attributes(appearance)
        assert len(row) == 35
        true = {name for name, is_so in row.items() if is_so}
        for group in ('accessory', 'carrying'):
            named = {name for name in true if name.startswith(group)}
            assert named
            assert named == {f'{group}Nothing'} or f'{group}Nothing' not in named
        assert ('personalMale' in true) != appearance.character.female
        ages = {name for name in true if name.startswith(('personalLess', 'personalLarger'))}
        assert len(ages) == (appearance.character.age >= 15)


def test_limbs_bend_as_stated():
    """Bones keep their lengths; arms spread by a right angle point to the sides."""
    character = plain_character()
    flat = replace(STANDING, arms=(Arm(0.0, np.pi / 2, 0.0), Arm(0.0, np.pi / 2, 0.0)))
    joints = skeleton(character.person.build, flat)
    for side, sign in (('l', 1), ('r', -1)):
        shoulder, elbow, wrist = (joints[f'{n}_{side}'] for n in ('shoulder', 'elbow', 'wrist'))
        np.testing.assert_allclose(elbow - shoulder, [sign * 0.165, 0, 0], atol=1e-12)
        np.testing.assert_allclose(wrist - elbow, [sign * 0.145, 0, 0], atol=1e-12)
    raised = replace(STANDING, arms=(Arm(np.pi, 0.0, 0.0), Arm(np.pi / 2, 0.0, 0.0)))
    joints = skeleton(character.person.build, raised)
    up, ahead = (
        joints['wrist_l'] - joints['shoulder_l'],
        joints['wrist_r'] - joints['shoulder_r'],
    )
    np.testing.assert_allclose(up, [0, 0.31, 0], atol=1e-12)
    np.testing.assert_allclose(ahead, [0, 0, 0.31], atol=1e-12)


def test_hands_mirror_each_other_and_curl_towards_the_palm():
    arm = Arm(0.3, 0.2, 0.5, 0.1, twist=0.4)
    figure = Figure(
        plain_character().person,
        replace(STANDING, arms=(arm, arm)),
        View(0.0, 0.0),
        Placement(0.5, 0.9, 0.8),
    )
    body = Body(figure, (200, 200))
    left, right = hand_joints(body, 'l', 0.4), hand_joints(body, 'r', 0.4)
    assert left.shape == (21, 3)
    np.testing.assert_allclose(left * (-1, 1, 1), right, atol=1e-12)
    # Hanging with the thumb in front, the fingertips are nearer to the body than the knuckles.
    hanging = replace(figure, pose=replace(STANDING, arms=(Arm(0.0, 0.0, 0.0),) * 2))
    left = hand_joints(Body(hanging, (200, 200)), 'l', 0.0)
    assert left[4, 2] > left[0, 2] + 0.02
    for knuckle, tip in ((5, 8), (9, 12), (13, 16), (17, 20)):
        assert left[tip, 0] < left[knuckle, 0] - 0.005
        assert left[tip, 1] < left[knuckle, 1] - 0.02


def test_small_toes_are_on_the_outside_and_heels_behind():
    _, rendered = portrait(plain_character())
    big, small = rendered.seen[0].landmarks[[17, 20]], rendered.seen[0].landmarks[[18, 21]]
    assert small[0, 0] > big[0, 0] + 1
    assert small[1, 0] < big[1, 0] - 1
    _, rendered = portrait(plain_character(), yaw=np.pi / 2)
    for toe, heel in ((17, 19), (20, 22)):
        # Walking to the right of the image.
        assert rendered.seen[0].landmarks[heel, 0] < rendered.seen[0].landmarks[toe, 0] - 5


def test_an_open_jacket_shows_what_is_below():
    character = plain_character()
    upper = replace(character.person.upper, kind='jacket', color=(210, 30, 30))
    jacket = with_person(character, upper=upper, inner=(30, 30, 230))
    _, rendered = portrait(jacket, size=(320, 200))
    labels = rendered.parts(0, lip_table(jacket))
    red, _, blue = np.moveaxis(rendered.image.astype(int), -1, 0)
    for color, other, name in ((red, blue, 'Coat'), (blue, red, 'Upper-clothes')):
        drawn, labeled = color - other > 40, labels == LIP[name]
        assert (drawn & labeled).sum() / (drawn | labeled).sum() > 0.7, name


def test_the_same_numbers_give_the_same_scene_in_any_order():
    one = render_scene(plan_crowd(0, 5, SIZE, CROWD))
    render_scene(plan_crowd(0, 6, SIZE, CROWD))
    two = render_scene(plan_crowd(0, 5, SIZE, CROWD))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.owners, two.owners)
    other = render_scene(plan_crowd(1, 5, SIZE, CROWD))
    assert np.abs(one.image.astype(int) - other.image).mean() > 5


def test_box_of_nothing_is_none():
    assert box_of(np.zeros((4, 5), bool)) is None
    mask = np.zeros((4, 5), bool)
    mask[1, 2:4] = True
    assert box_of(mask) == (2, 1, 4, 2)
