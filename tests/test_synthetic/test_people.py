"""Synthetic persons: determinism, variation, geometry of the pose, layout of the set."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from saip.datasets.retrieval import RetrievalImages
from saip.evaluation.histogram import color_histogram
from saip.evaluation.retrieval import score_retrieval
from saip.models.backbones import ViTEncoder
from saip.synthetic import (
    SIZES,
    MarketSpec,
    draw_image,
    list_images,
    plan_crop,
    render_crop,
    sample_person,
    write_market1501,
)
from saip.synthetic.capsule import Capsule, draw_capsule
from saip.synthetic.draw import draw_figure
from saip.synthetic.pose import Pose, View, project, skeleton
from saip.synthetic.scenery import panorama

TINY = SIZES['tiny']
ROOT = Path(__file__).parents[2]


def read_all(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def test_same_bytes_alone_in_a_run_and_with_any_number_of_processes(tmp_path):
    assert write_market1501(tmp_path / 'one', TINY, workers=1)
    assert write_market1501(tmp_path / 'two', TINY, workers=2)
    one, two = read_all(tmp_path / 'one'), read_all(tmp_path / 'two')
    assert one == two
    images = list_images(TINY)
    panorama.cache_clear()
    for image in reversed(images):
        assert draw_image(TINY, image) == one[image.path]


def test_layout_and_names(tmp_path):
    write_market1501(tmp_path / 'set', TINY)
    files = read_all(tmp_path / 'set')
    assert {'people.json', 'contact_sheet.png'} <= files.keys()
    assert 'bounding_box_train/0001_c1s1_000051_00.jpg' in files
    counts = Counter(path.split('/')[0] for path in files if path.endswith('.jpg'))
    # 6 identities x 3 cameras; 4 x 3; 4 x 3 and two distractors and two junk images.
    assert counts == {'bounding_box_train': 18, 'query': 12, 'bounding_box_test': 16}
    identities = {
        folder: {p.split('/')[1].split('_')[0] for p in files if p.startswith(folder + '/')}
        for folder in counts
    }
    assert not identities['bounding_box_train'] & identities['query']
    assert identities['bounding_box_test'] == identities['query'] | {'0000', '-1'}
    for path, data in files.items():
        if path.endswith('.jpg'):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            assert image.shape == (128, 64, 3)
            assert image.std() > 5


def test_quickstart_holds_the_announced_images():
    counts = Counter()
    for image in list_images(SIZES['quickstart']):
        folder, name = image.path.split('/')
        counts[folder, name.startswith(('0000', '-1'))] += 1
    assert counts['bounding_box_train', False] == 4800
    assert counts['query', False] == 320
    assert counts['bounding_box_test', False] == 640
    paths = [image.path for image in list_images(SIZES['quickstart'])]
    assert len(set(paths)) == len(paths)


def test_finished_set_is_left_alone_and_anything_else_is_refused(tmp_path):
    out = tmp_path / 'set'
    assert write_market1501(out, TINY)
    before = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    assert not write_market1501(out, TINY)
    assert {path: path.stat().st_mtime_ns for path in out.rglob('*')} == before
    with pytest.raises(ValueError, match='seed 0 instead of 1'):
        write_market1501(out, replace(TINY, seed=1))
    foreign = tmp_path / 'foreign'
    foreign.mkdir()
    (foreign / 'notes.txt').write_text('mine')
    with pytest.raises(ValueError, match='no set of synthetic persons'):
        write_market1501(foreign, TINY)
    assert (foreign / 'notes.txt').read_text() == 'mine'


def test_a_broken_description_is_named(tmp_path):
    for text in ('{', '[1]'):
        (tmp_path / 'people.json').write_text(text)
        with pytest.raises(ValueError, match=r'people\.json: (?:not JSON|no description)'):
            write_market1501(tmp_path, TINY)


def test_the_slower_of_two_processes_finds_the_set_finished(tmp_path, monkeypatch):
    out = tmp_path / 'set'
    write_market1501(tmp_path / 'other', TINY)

    def other_is_faster(*_):
        (tmp_path / 'other').rename(out)
        raise OSError(39, 'Directory not empty')

    monkeypatch.setattr('os.replace', other_is_faster)
    assert not write_market1501(out, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ['set']


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr('saip.synthetic.market.draw_image', fail)
    with pytest.raises(KeyboardInterrupt):
        write_market1501(tmp_path / 'set', TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'test_identities': 0}, 'test_identities'),
        ({'cameras': 1}, '2 cameras'),
        ({'junk': -1}, 'junk'),
        ({'seed': -1}, 'seed'),
    ],
)
def test_impossible_sets_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MarketSpec(**{'train_identities': 2, 'test_identities': 2} | changes)


def test_identities_cameras_shots_and_seeds_differ():
    base = render_crop(plan_crop(0, 1, 1, 0)).astype(float)
    for key in ((0, 2, 1, 0), (0, 1, 2, 0), (0, 1, 1, 1), (1, 1, 1, 0)):
        assert np.abs(render_crop(plan_crop(*key)) - base).mean() > 5, key
    assert len({repr(sample_person(0, identity)) for identity in range(200)}) == 200


def test_everything_that_should_vary_does():
    shots = [plan_crop(0, identity, camera, 0) for identity in range(150) for camera in (1, 2)]
    people = [sample_person(0, identity) for identity in range(300)]
    heights = [shot.figures[-1].place.height for shot in shots]
    levels = [shot.light.level for shot in shots]
    occluded = np.mean([shot.occluder.kind != 'none' for shot in shots])
    crowded = np.mean([len(shot.figures) > 1 for shot in shots])
    assert len({shot.place for shot in shots}) == 8
    assert max(heights) / min(heights) > 1.3
    assert max(levels) - min(levels) > 0.15
    assert 0.05 < occluded < 0.3
    assert 0.1 < crowded < 0.5
    assert len({person.upper.kind for person in people}) == 7
    assert len({person.upper.pattern for person in people}) == 6
    assert len({person.bag.kind for person in people}) == 4


def test_people_are_hard_for_colors_and_for_an_untrained_network(tmp_path):
    spec = MarketSpec(1, 24, distractors=12, junk=4)
    write_market1501(tmp_path / 'set', spec)
    data = RetrievalImages(str(tmp_path / 'set'), size=(128, 64))
    batch = default_collate(list(data))
    labels = {name: batch[name].numpy() for name in ('pid', 'camid', 'is_query')}
    arch = dict(embed_dims=96, num_layers=4, num_heads=3, feedforward_channels=384)
    encoder = ViTEncoder(arch=arch, img_size=(128, 64), patch_size=16, feature_level=2)
    encoder.init_weights()
    with torch.no_grad():
        normal = (batch['image'].float() - 118) / 58
        untrained = encoder.eval().encode(normal).require_image_token()
    # A random order of 204 gallery images, six of them right, gives about 5 %.
    assert score_retrieval(untrained, labels)['mAP'] < 15
    assert 8 < score_retrieval(color_histogram(batch['image']), labels)['mAP'] < 35


def test_every_direction_occurs_and_a_backpack_is_seen_from_behind():
    yaws = [plan_crop(0, i, c, 0).figures[-1].view.yaw for i in range(60) for c in (1, 2, 3, 4)]
    sectors = Counter(round(yaw / (np.pi / 4)) % 8 for yaw in yaws)
    assert len(sectors) == 8
    assert min(sectors.values()) >= 10

    person = next(p for i in range(99) if (p := sample_person(0, i)).bag.kind == 'backpack')
    bag = replace(person.bag, color=(0.0, 255.0, 0.0))
    figure = replace(plan_crop(0, 1, 1, 0).figures[-1], person=replace(person, bag=bag))
    seen = {}
    for name, yaw in (('front', 0.0), ('back', np.pi)):
        canvas = np.zeros((256, 128, 3), np.uint8)
        place = replace(figure.place, x=0.5, ground=0.97, height=0.93)
        draw_figure(canvas, replace(figure, view=View(yaw, 0.1), place=place), 0.0)
        green = canvas.astype(int)
        seen[name] = int((green[..., 1] - green[..., 0] > 80).sum())
    assert seen['back'] > 1.5 * seen['front'] > 0


@pytest.mark.parametrize('phase', np.linspace(0, 2 * np.pi, 7))
def test_bones_keep_their_length_in_every_phase(phase):
    build = sample_person(0, 3).build
    still = skeleton(build, Pose(0.0, 0.0, 0.0, 0.0))
    moving = skeleton(build, Pose(float(phase), 0.45, 0.6, 0.05))
    bones = [('shoulder_{}', 'elbow_{}'), ('elbow_{}', 'wrist_{}')]
    bones += [('hip_{}', 'knee_{}'), ('knee_{}', 'ankle_{}')]
    for top, bottom in bones:
        for side in 'lr':
            pair = top.format(side), bottom.format(side)
            lengths = [np.linalg.norm(s[pair[0]] - s[pair[1]]) for s in (still, moving)]
            assert lengths[0] == pytest.approx(lengths[1], abs=1e-9)
    lowest = min(moving['ankle_l'][1], moving['ankle_r'][1])
    assert lowest == pytest.approx(min(still['ankle_l'][1], still['ankle_r'][1]))


def test_projection_turns_the_left_shoulder():
    joints = skeleton(sample_person(0, 3).build, Pose(0.0, 0.0, 0.2, 0.0))
    facing = project(joints, View(0.0, 0.0))
    behind = project(joints, View(np.pi, 0.0))
    side = project(joints, View(np.pi / 2, 0.0))
    width = joints['shoulder_l'][0]
    assert facing['shoulder_l'][0] == pytest.approx(width)
    assert behind['shoulder_l'][0] == pytest.approx(-width)
    # Walking to the right of the image, the left side is the far one.
    assert side['shoulder_l'][2] == pytest.approx(-width)
    assert side['toe_l'][0] > side['ankle_l'][0]


def test_a_tube_covers_its_area_and_is_cut_at_the_border():
    canvas = np.zeros((60, 60, 3), np.uint8)
    capsule = Capsule(
        np.array([30.0, 10.0]), np.array([30.0, 50.0]), np.array([8.0, 8.0]), 0.0, False
    )
    draw_capsule(canvas, capsule, (200.0, 100.0, 50.0), 0.0)
    covered = int((canvas[..., 0] > 100).sum())
    # The edge of an antialiased polygon adds up to a pixel around 16 x 40.
    assert 16 * 40 <= covered <= 18 * 42
    red, green, blue = canvas[30, 30].astype(float)
    assert red / green == pytest.approx(2.0, rel=0.02)
    assert green / blue == pytest.approx(2.0, rel=0.04)
    outside = Capsule(np.array([-90.0, 0.0]), np.array([-90.0, 9.0]), np.array([5.0, 5.0]), 0.0)
    before = canvas.copy()
    draw_capsule(canvas, outside, (255.0, 255.0, 255.0), 0.0)
    assert (canvas == before).all()


def test_other_sizes_show_the_same_scene():
    plan = plan_crop(0, 1, 1, 0)
    # Without its sensor noise the larger image, reduced, is nearly the smaller one.
    plan = replace(plan, camera=replace(plan.camera, noise=0.0))
    small, large = render_crop(plan, (128, 64)), render_crop(plan, (256, 128))
    reduced = cv2.resize(large, (64, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - reduced).mean() < 8


def test_tool_writes_once_and_names_errors(tmp_path):
    command = [sys.executable, str(ROOT / 'tools/dataset_converters/make_people.py')]
    command += [str(tmp_path / 'set'), '--size', 'tiny', '--workers', '1']
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 'written' in first.stdout
    assert 'already finished' in again.stdout
    assert json.loads((tmp_path / 'set/people.json').read_text())['seed'] == 0
    other = subprocess.run([*command, '--seed', '3'], cwd=ROOT, capture_output=True, text=True)
    assert other.returncode == 2
    assert other.stderr.startswith('make_people.py: error: ')
    assert len(other.stderr.splitlines()) == 1
