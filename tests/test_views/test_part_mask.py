"""Masks guided by parts of the body: geometry, counts, what is drawn, missing keypoints."""

import math
import time

import numpy as np
import pytest
import torch

from saip.errors import InputError
from saip.views import Clock, DeviceOps, HostBatch, MaskDraw, Recipe, ReferenceOps, render
from saip.views.body_parts import PARTS, TEMPLATE, joint_cells, part_cells, place_template
from saip.views.maskers.part import RELEASED_SHARE, _some_of
from tests.test_views.test_maskers import check_counts, hidden_map
from tests.test_views.view_recipes import make_ops

SIZE, PATCH, GRID = (256, 128), 16, (16, 8)


def recipe(crop=None, scales=(1.0,), **mask) -> Recipe:
    views = {
        'clean': {'type': 'Crop', 'augment': {'flip': 0.5}, **(crop or {})},
        'masked': {
            'type': 'Masked',
            'of': 'clean',
            'scales': scales,
            'mask': {'type': 'PartMask', **mask},
        },
    }
    return Recipe(SIZE, PATCH, views)


def people(count: int, seed: int = 0, keypoints: bool = True) -> HostBatch:
    """Images of different sizes with a jittered standing person in each."""
    rng = np.random.default_rng(seed)
    sizes = np.stack([rng.integers(100, 400, count), rng.integers(60, 200, count)], 1)
    places = place_template(sizes)
    places[..., :2] += rng.normal(0, 0.03, (count, 17, 2)) * sizes[:, None, ::-1]
    return HostBatch(np.arange(count) + 1000 * seed, sizes, None, places if keypoints else None)


def draw(made: Recipe, batch: HostBatch, epoch: int = 0):
    """The crop and the mask."""
    plan = made.draw(['masked'], batch, Clock(0, epoch, 0))
    values = plan.draws['masked'].values
    return plan.draws['clean'].crops['crop'], values['mask'], values['size']


def hidden_of(values) -> np.ndarray:
    """(B, L) bool."""
    return hidden_map(MaskDraw.from_dict(values), GRID).reshape(len(values['keep']), -1)


def cells_of_one(keypoints, crop, image: int) -> list[set[int]]:
    """Patches of each part of one image, joint by joint and patch by patch."""
    top, left, height, width = crop.box[image].tolist()
    places = {}
    for joint, (x, y, score) in enumerate(keypoints[image].tolist()):
        across, down = (x + 0.5 - left) / width * SIZE[1], (y + 0.5 - top) / height * SIZE[0]
        if crop.flip[image]:
            across = SIZE[1] - across
        if score > 0 and 0 <= across < SIZE[1] and 0 <= down < SIZE[0]:
            places[joint] = math.floor(down / PATCH), math.floor(across / PATCH)
    found = []
    for bones in PARTS.values():
        cells = set()
        for a, b in bones:
            if a in places and b in places:
                (r0, c0), (r1, c1) = places[a], places[b]
                rows = range(min(r0, r1), max(r0, r1) + 1)
                columns = range(min(c0, c1), max(c0, c1) + 1)
                cells |= {r * GRID[1] + c for r in rows for c in columns}
        found.append(cells)
    return found


@pytest.mark.parametrize('kind', [DeviceOps, ReferenceOps])
def test_joints_lie_on_the_same_pixels_after_crop_and_flip(kind):
    """A bright dot at a joint is found in the patch, and near the place, that the joint has."""
    height, width = 320, 160  # the canvas is the image: nothing is squeezed
    rng = np.random.default_rng(0)
    count, joint = 24, 9
    sizes = np.tile([height, width], (count, 1))
    keypoints = place_template(sizes)
    keypoints[:, joint, 0] = rng.integers(4, width - 4, count)
    keypoints[:, joint, 1] = rng.integers(4, height - 4, count)
    canvas = torch.zeros(count, 3, height, width, dtype=torch.uint8)
    for image in range(count):
        x, y = keypoints[image, joint, :2].astype(int)
        canvas[image, :, y - 1 : y + 2, x - 1 : x + 2] = 255
    made = recipe(crop={'area': (0.3, 0.9)})
    batch = HostBatch(np.arange(count), sizes, None, keypoints)
    plan = made.draw(['clean'], batch, Clock(0, 0, 0))
    crop = plan.draws['clean'].crops['crop']
    assert 0 < crop.flip.sum() < count
    views = render(made, plan, canvas, ['clean'], make_ops(kind))['clean'].images.mean(1)
    pixels = joint_cells(keypoints, crop, SIZE, 0.0)  # a grid of pixels
    patches = joint_cells(keypoints, crop, GRID, 0.0)
    outside = 0
    for image in range(count):
        row, column, seen = (array[image, joint] for array in pixels)
        if not seen:
            outside += 1
            continue
        assert (patches[0][image, joint], patches[1][image, joint]) == (row // 16, column // 16)
        level = views[image]
        rows, columns = torch.arange(SIZE[0]), torch.arange(SIZE[1])
        total = level.sum()
        if min(row, column, SIZE[0] - 1 - row, SIZE[1] - 1 - column) < 5:
            continue  # the dot is cut off
        middle = (
            float((level.sum(1) * rows).sum() / total),
            float((level.sum(0) * columns).sum() / total),
        )
        assert middle == pytest.approx((row, column), abs=1.0)
    assert 0 < outside < count // 2


def test_parts_by_a_second_implementation():
    batch = people(60)
    crop, _, _ = draw(recipe(crop={'area': (0.3, 1.0)}), batch)
    cells = part_cells(*joint_cells(batch.keypoints, crop, GRID, 0.0), GRID)
    empty = 0
    for image in range(60):
        for part, wanted in enumerate(cells_of_one(batch.keypoints, crop, image)):
            assert set(np.flatnonzero(cells[image, part])) == wanted
            empty += not wanted
    assert empty > 10  # small crops cut parts off


def test_a_joint_with_a_low_score_takes_its_bones_away():
    batch = people(20)
    batch.keypoints[:, 9, 2] = 0.3
    crop, _, _ = draw(recipe(), batch)
    arm = list(PARTS).index('left arm')
    kept = part_cells(*joint_cells(batch.keypoints, crop, GRID, 0.0), GRID)[:, arm]
    less = part_cells(*joint_cells(batch.keypoints, crop, GRID, 0.3), GRID)[:, arm]
    assert (less <= kept).all()
    assert less.sum() < kept.sum()


def whole_parts(batch, crop, hidden) -> np.ndarray:
    """(B, 6) whether every patch of a part is hidden; parts that are not seen count as not."""
    cells = part_cells(*joint_cells(batch.keypoints, crop, GRID, 0.0), GRID)
    return np.where(cells.any(2), (~cells | hidden[:, None]).all(2), False)


@pytest.mark.parametrize('parts', ['paper', 'released'])
@pytest.mark.parametrize('ratio', [0.5, 0.75, 0.2])
def test_exact_counts(parts, ratio):
    _, values, _ = draw(recipe(parts=parts, ratio=ratio), people(80))
    check_counts(MaskDraw.from_dict(values), 128, int(128 * (1 - ratio) + 1e-9))


def test_the_number_of_parts_does_not_fade_over_a_batch():
    """HAP's release hides parts in the first images of a batch alone; the paper in all."""
    batch = people(512)
    shares = {}
    for parts in ('paper', 'released'):
        made = recipe(parts=parts)
        crop, _, _ = draw(made, batch)
        masker = made['masked'].masker
        numbers = Clock(0, 0, 0).of_images('mask/parts', batch.keys, 1 + 12 + 128)
        cells = part_cells(*joint_cells(batch.keypoints, crop, GRID, 0.0), GRID)
        taken = masker._taken(numbers[:, 0], numbers[:, 1:7], cells.any(2)) < 6
        shares[parts] = taken.any(1).reshape(4, 128).mean(1)
    # Of 7 numbers of parts one is 0.
    assert shares['paper'] == pytest.approx(np.full(4, 6 / 7), abs=4 * (6 / 49 / 128) ** 0.5)
    assert shares['released'][1:].max() == 0
    assert 0 < shares['released'][0] < 0.1


def test_the_released_bound_is_the_harmonic_number():
    """From k parts on, a draw is at most k: on average 1 + 1/2 + ... + 1/6 images have any."""
    masker = recipe(parts='released')['masked'].masker
    shown = np.ones((64, 6), dtype=bool)
    rng = np.random.default_rng(0)
    counts = [
        (masker._taken(rng.random(64), rng.random((64, 6)), shown) < 6).any(1).sum()
        for _ in range(2000)
    ]
    assert np.mean(counts) == pytest.approx(2.45, abs=0.12)


def test_chosen_parts_are_hidden_whole_and_all_six_appear():
    """Half of the patches are many: nearly every chosen part fits. Numbers are uniform on 0..6."""
    batch = people(2000)
    crop, values, _ = draw(recipe(crop={'area': (1.0, 1.0), 'aspect': (0.3, 2.0)}), batch)
    numbers = Clock(0, 0, 0).of_images('mask/parts', batch.keys, 1)[:, 0]
    whole = whole_parts(batch, crop, hidden_of(values))
    counts = np.floor(numbers * 7)
    assert (whole.sum(1) >= np.minimum(counts, 3)).mean() > 0.98
    assert whole[counts == 6].all(1).mean() > 0.8
    often = whole.mean(0)
    assert often.min() > 0.4
    # Blocks alone rarely hide a whole leg.
    assert whole[counts == 0].mean() < whole[counts == 3].mean() < whole[counts == 6].mean()


def test_a_small_budget_takes_parts_in_their_order():
    """13 hidden patches: each part is hidden as far as those before it leave room."""
    batch = people(300)
    made = recipe(ratio=0.1, min_patches=4)
    crop, values, _ = draw(made, batch)
    cells = part_cells(*joint_cells(batch.keypoints, crop, GRID, 0.0), GRID)
    numbers = Clock(0, 0, 0).of_images('mask/parts', batch.keys, 7)
    taken = made['masked'].masker._taken(numbers[:, 0], numbers[:, 1:], cells.any(2))
    hidden = hidden_of(values)
    budget = hidden[0].sum()
    assert budget == 128 - int(128 * 0.9)
    checked = 0
    for image in range(300):
        first = [
            cells[image, part] for part in np.argsort(taken[image]) if taken[image, part] < 6
        ]
        left = budget
        gone = np.zeros(128, dtype=bool)
        for part in first:
            new = part & ~gone
            if left <= 0:
                break
            assert (hidden[image] & new).sum() == min(left, new.sum())
            left -= min(left, new.sum())
            gone |= part
            checked += 1
    assert checked > 400


def test_the_released_code_hides_a_share_of_a_part_rounded_down():
    rng = np.random.default_rng(0)
    cells = rng.random((200, 6, 128)) < 0.1
    share = rng.random((200, 6))
    some = _some_of(cells, rng.random((200, 128)), RELEASED_SHARE * share)
    assert (some <= cells).all()
    assert (some.sum(2) == (cells.sum(2) * 0.3 * share).astype(int)).all()
    # Which of the patches is random: every position of a part is taken about equally often.
    assert some.sum((0, 1)).min() > 0


def test_masks_are_keyed_by_image_epoch_and_name():
    batch = people(6)
    order = np.array([4, 1, 0])
    some = HostBatch(batch.keys[order], batch.sizes[order], None, batch.keypoints[order])
    made = recipe()
    all_, few = draw(made, batch)[1], draw(made, some)[1]
    assert (all_['keep'][order] == few['keep']).all()
    assert (draw(made, batch, epoch=1)[1]['keep'] != all_['keep']).any()


def test_other_views_keep_their_draws():
    """The keypoints and the mask change no number of the crop, nor of the blocks beneath."""
    batch = people(8)
    without = HostBatch(batch.keys, batch.sizes)
    crop, _, _ = draw(recipe(), batch)
    plain = Recipe(SIZE, PATCH, {'clean': {'type': 'Crop', 'augment': {'flip': 0.5}}})
    other = plain.draw(['clean'], without, Clock(0, 0, 0)).draws['clean'].crops['crop']
    assert (crop.box == other.box).all()
    assert (crop.flip == other.flip).all()


def test_a_scaled_view_is_masked_on_its_own_grid():
    made = recipe(scales=(1.5,))
    _, values, size = draw(made, people(10))
    assert size == (384, 192)
    assert values['keep'].shape == (10, 144)


class TestMissing:
    def test_error_names_the_option(self):
        with pytest.raises(
            InputError,
            match=r'set has no keypoints.* model\.\S+\.views\.masked\.mask\.on_missing=',
        ):
            draw(recipe(), people(4, keypoints=False))
        batch = people(4)
        batch.keypoints[2] = np.nan
        with pytest.raises(InputError, match='1 of 4 images of a batch have no keypoints'):
            draw(recipe(), batch)

    def test_template_is_a_person_as_large_as_the_image(self):
        batch = people(40, keypoints=False)
        standing = HostBatch(batch.keys, batch.sizes, None, place_template(batch.sizes))
        made = recipe(on_missing='template')
        assert (draw(made, batch)[1]['keep'] == draw(made, standing)[1]['keep']).all()
        assert (
            TEMPLATE[15][1]
            > TEMPLATE[13][1]
            > TEMPLATE[11][1]
            > TEMPLATE[5][1]
            > TEMPLATE[0][1]
        )
        mirrored = TEMPLATE[[0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]]
        assert np.allclose(mirrored[:, 0], 1 - TEMPLATE[:, 0])
        assert np.allclose(mirrored[:, 1], TEMPLATE[:, 1])

    def test_blocks_alone_are_those_of_the_block_mask(self):
        batch = people(40, keypoints=False)
        _, values, _ = draw(recipe(on_missing='block'), batch)
        views = {
            'clean': {'type': 'Crop', 'augment': {'flip': 0.5}},
            'masked': {
                'type': 'Masked',
                'of': 'clean',
                'mask': {'type': 'BlockMask', 'ratio': 0.5, 'min_patches': 12},
            },
        }
        _, blocks, _ = draw(Recipe(SIZE, PATCH, views), batch)
        assert (values['scored'] == blocks['scored']).all()

    def test_only_images_without_are_substituted(self):
        batch = people(30)
        whole = draw(recipe(), batch)[1]
        batch.keypoints[[3, 7]] = np.nan
        part = draw(recipe(on_missing='block'), batch)[1]
        same = (whole['keep'] == part['keep']).all(1)
        assert same[[i for i in range(30) if i not in (3, 7)]].all()

    @pytest.mark.parametrize('how', ['template', 'block'])
    def test_it_is_said_once(self, how, monkeypatch):
        said = []
        monkeypatch.setattr(
            'saip.views.maskers.part.print_log', lambda text, *_: said.append(text)
        )
        made = recipe(on_missing=how)
        for epoch in range(3):
            draw(made, people(4, keypoints=False), epoch)
        assert len(said) == 1
        assert f'on_missing={how!r}' in said[0]
        assert '4 of 4;' in said[0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'parts': 'all'}, r'masked.mask.parts: unknown .all.; allowed: paper, released'),
        ({'on_missing': 'skip'}, 'on_missing: unknown .skip.; allowed: error, template, block'),
        ({'score_threshold': 2}, 'score_threshold: a number from 0 to 1'),
        ({'min_patches': 100}, 'min_patches=100, but only 64'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        recipe(**options)


def test_only_a_crop_carries_keypoints():
    views = {
        'clean': {'type': 'Crop'},
        'small': {'type': 'Rescale', 'of': 'clean', 'number': 1, 'scales': (0.5,)},
        'masked': {
            'type': 'Masked',
            'of': 'small',
            'mask': {'type': 'PartMask', 'min_patches': 4},
        },
    }
    with pytest.raises(InputError, match=r"masked: of='small' is none of .* \(clean\)"):
        Recipe(SIZE, PATCH, views)


def test_a_batch_of_256_takes_little_more_than_its_blocks():
    """No loop over the images, which would take some 200 ms."""
    batch, made = people(256), recipe()
    masker = made['masked'].masker
    crops = made.draw(['clean'], batch, Clock(0, 0, 0)).draws
    times = {'parts': [], 'blocks': []}
    for _ in range(8):
        for name, each in (('parts', masker), ('blocks', masker.blocks)):
            start = time.process_time()
            each.draw('mask', GRID, Clock(0, 0, 0), batch, crops)
            times[name].append(time.process_time() - start)
    assert min(times['parts']) < 4 * min(times['blocks'])
