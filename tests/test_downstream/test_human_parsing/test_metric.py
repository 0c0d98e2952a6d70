"""The measures: by hand, against loops over whole maps, and what becomes of odd images."""

import pickle

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks

from saip.downstream.human_parsing import ParsingMetric
from saip.downstream.human_parsing.crops import PartCrop, trim

from . import brute_force
from .brute_force import ParsedImage

NAMES = ('mIoU', 'APp_50', 'APp_vol', 'PCP_50')


def sample(image: ParsedImage, padding: int = 0) -> dict:
    """What the evaluator hands to the metric; crops may be larger than their parts."""
    height, width = image.people.shape[1:]
    crops = []
    for _, labels in image.found:
        left, top, small = trim(labels)
        if small.size:
            left, top = max(left - padding, 0), max(top - padding, 0)
            right, bottom = (
                min(left + small.shape[1] + 2 * padding, width),
                min(top + small.shape[0] + 2 * padding, height),
            )
            small = labels[top:bottom, left:right]
        crops.append(PartCrop(left, top, small))
    scores = torch.tensor([score for score, _ in image.found])
    annotated = torch.from_numpy(brute_force.whole(image.people))[None]
    return dict(
        gt_instances=dict(masks=BitmapMasks(image.people, height, width)),
        gt_sem_seg=dict(sem_seg=annotated),
        pred_instances=dict(scores=scores, parsings=crops),
    )


def score(images: list[ParsedImage], padding: int = 0) -> dict[str, float]:
    metric = ParsingMetric()
    metric.process(None, [sample(image, padding) for image in images])
    return metric.compute_metrics(metric.results)


def blocks(*parts: tuple[int, int, int, int, int], size: tuple[int, int] = (10, 10)):
    """A map of rectangles (label, top, bottom, left, right)."""
    labels = np.zeros(size, np.uint8)
    for label, top, bottom, left, right in parts:
        labels[top:bottom, left:right] = label
    return labels


def two_people() -> ParsedImage:
    """The first found without a part of four pixels and again exactly, the second displaced."""
    first = blocks((5, 0, 4, 0, 4), (13, 4, 5, 0, 4))
    second = blocks((9, 0, 4, 6, 10))
    found = [
        (0.9, blocks((5, 0, 4, 0, 4))),
        (0.8, blocks((9, 0, 4, 5, 9))),
        (0.7, first),
    ]
    return ParsedImage(np.stack([first, second]), found)


def test_two_people_by_hand():
    found = score([two_people()])
    # The first detection resembles its person by (80/84 + 1 + 0) / 3 = 0.651, the second by
    # (80/88 + 12/20) / 2 = 0.755, the third is exact. Up to 0.6 the first two are right; at 0.7 the
    # second and the third, with precisions of 1/2 and 2/3; at 0.8 and 0.9 the third alone.
    assert found['APp_50'] == pytest.approx(100)
    assert found['APp_vol'] == pytest.approx(100 * (6 + 2 / 3 + 2 * (1 / 6)) / 9)
    # One of the first person's two parts, and the second person's only one.
    assert found['PCP_50'] == pytest.approx(75)
    # Background, labels 5, 13 (which shines through the background of the best-scored) and 9.
    assert found['mIoU'] == pytest.approx(100 * (60 / 68 + 1 + 1 + 12 / 20) / 4)


def random_image(generator: np.random.Generator) -> ParsedImage:
    """Up to three people in strips of an image, found about, well or not at all."""
    size = tuple(generator.integers(8, 15, 2))
    count = int(generator.integers(0, 4))
    owners = generator.permuted(np.arange(size[1]) % max(count, 1))
    people = np.zeros((count, *size), np.uint8)
    for number in range(count):
        columns = np.flatnonzero(owners == number)
        for row in range(size[0]):
            people[number, row, columns] = generator.choice([0, 2, 5, 9]) if row % 3 else 5
    if count == 3:  # of whom no part is seen
        people[0] = 0
    found = []
    for _ in range(int(generator.integers(0, 6))):
        labels = np.zeros(size, np.uint8)
        if count and generator.random() < 0.8:
            labels = people[generator.integers(count)].copy()
        wrong = generator.random(size) < generator.choice([0.02, 0.2, 0.5])
        labels[wrong] = generator.integers(0, 20, size)[wrong]
        # Scores are float32 in predictions; these are exact in both.
        found.append((int(generator.integers(1, 1024)) / 1024, labels))
    return ParsedImage(people, found)


@pytest.mark.parametrize('seed', range(12))
def test_against_loops_over_whole_maps(seed):
    generator = np.random.default_rng(seed)
    images = [random_image(generator) for _ in range(4)] + [two_people()]
    expected = {
        'mIoU': brute_force.mean_iou(images),
        'APp_50': brute_force.average_precision(images, 0.5),
        'APp_vol': np.mean(
            [brute_force.average_precision(images, t / 10) for t in range(1, 10)]
        ),
        'PCP_50': brute_force.correct_parts(images),
    }
    for padding in (0, 2):
        found = score(images, padding)
        for name, value in expected.items():
            assert found[name] == pytest.approx(100 * value, rel=1e-9), name


def test_what_was_annotated_is_perfect():
    first, second = two_people().people
    images = [ParsedImage(np.stack([first, second]), [(0.5, first), (0.4, second)])]
    assert score(images) == pytest.approx(dict.fromkeys(NAMES, 100))


def test_nothing_found():
    found = score([ParsedImage(two_people().people, [])])
    assert found['mIoU'] == pytest.approx(100 * 64 / 100 / 4)  # of the background alone
    assert [found[name] for name in NAMES[1:]] == [0, 0, 0]


def test_an_image_without_a_person_counts():
    """Its pixels in mIoU, and what is found in it as wrong."""
    empty = ParsedImage(np.zeros((0, 10, 10), np.uint8), [(0.95, blocks((5, 0, 2, 0, 2)))])
    alone, together = score([two_people()]), score([two_people(), empty])
    assert together['APp_50'] == pytest.approx(100 * 2 / 3)  # both are right, after one wrong
    assert together['PCP_50'] == alone['PCP_50']
    assert together['mIoU'] < alone['mIoU']
    quiet = score([two_people(), empty._replace(found=[])])
    assert quiet['APp_50'] == alone['APp_50']
    assert quiet['mIoU'] > alone['mIoU']


def test_without_anybody_only_the_background_has_a_value():
    found = score([ParsedImage(np.zeros((0, 10, 10), np.uint8), [])])
    assert found['mIoU'] == 100
    assert all(np.isnan(found[name]) for name in NAMES[1:])


def test_weak_detections_are_not_painted():
    people, found = two_people()
    weak = [(value / 4, labels) for value, labels in found]
    assert score([ParsedImage(people, weak)])['mIoU'] == pytest.approx(100 * (64 / 100) / 4)
    assert score([ParsedImage(people, weak)])['APp_50'] == pytest.approx(100)


def test_of_an_image_only_numbers_are_kept():
    """As many for a large image as for a small one."""
    sizes = []
    for factor in (1, 30):
        people, found = two_people()
        grown = np.ones((factor, factor), np.uint8)
        large = [(value, np.kron(labels, grown)) for value, labels in found]
        metric = ParsingMetric()
        image = ParsedImage(np.stack([np.kron(labels, grown) for labels in people]), large)
        metric.process(None, [sample(image)])
        sizes.append(len(pickle.dumps(metric.results)))
    assert sizes[0] == sizes[1] < 2000
