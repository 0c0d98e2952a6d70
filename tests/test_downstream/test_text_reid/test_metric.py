"""Searches by captions against lists gone down by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from saip.downstream.text_reid import TextReIDMetric
from saip.downstream.text_reid.ranked import CELL, draw_caption, rank_captions
from saip.evaluation import cmc
from saip.visualization.retrieval import HIT, MISS


def prediction(feature, texts, pid, img_path='') -> dict:
    return dict(
        feature=torch.as_tensor(feature, dtype=torch.float32),
        caption_features=torch.as_tensor(texts, dtype=torch.float32),
        captions=[f'caption {i} of {pid}' for i in range(len(texts))],
        pid=pid,
        img_path=img_path,
    )


def score(predictions: list[dict], batch: int = 7, **options) -> dict[str, float]:
    metric = TextReIDMetric(**options)
    for start in range(0, len(predictions), batch):
        metric.process(None, predictions[start : start + batch])
    return metric.evaluate(len(predictions))


def at(degrees: float) -> list[float]:
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


def test_three_captions_by_hand():
    """Images of person 1 at 0 and 40 degrees, of 2 at 10, of 3 at 90."""
    found = score(
        [
            # Its list: 1, 2, 1, 3: hits at 1 and 3.
            prediction(at(0), [at(0)], 1),
            # Two captions. At 12: 2, 1 (0), 1 (40), 3: hit at 1. At 80: 3, 1 (40), 2, 1: at 3.
            prediction(at(10), [at(12), at(80)], 2),
            # None of its own.
            prediction(at(40), [], 1) | {'caption_features': torch.zeros(0, 2)},
            prediction(at(90), [at(91)], 3),
        ]
    )
    precision = [(1 + 2 / 3) / 2, 1, 1 / 3, 1]
    penalty = [2 / 3, 1, 1 / 3, 1]
    assert found == pytest.approx(
        {
            'text_reid/Rank-1': 75.0,
            'text_reid/Rank-5': 100.0,
            'text_reid/Rank-10': 100.0,
            'text_reid/mAP': 100 * np.mean(precision),
            'text_reid/mINP': 100 * np.mean(penalty),
            'text_reid/captions': 4,
        }
    )
    assert next(iter(found)) == 'text_reid/Rank-1'


def brute_force(predictions: list[dict]) -> dict[str, float]:
    """Go down each caption's list."""
    firsts, precisions, penalties = [], [], []
    for own in predictions:
        for text in own['caption_features']:
            near = [
                float(torch.cosine_similarity(text.double(), p['feature'].double(), dim=0))
                for p in predictions
            ]
            order = sorted(range(len(near)), key=lambda i, near=near: -near[i])
            hits = [r for r, i in enumerate(order, 1) if predictions[i]['pid'] == own['pid']]
            firsts.append(hits[0])
            precisions.append(np.mean([n / rank for n, rank in enumerate(hits, 1)]))
            penalties.append(len(hits) / hits[-1])
    scores = {
        f'text_reid/Rank-{k}': 100 * np.mean([f <= k for f in firsts]) for k in (1, 5, 10)
    }
    scores['text_reid/mAP'] = 100 * np.mean(precisions)
    return {**scores, 'text_reid/mINP': 100 * np.mean(penalties)}


def random_set(seed: int) -> list[dict]:
    """Twelve people with one to five images, each with one to three captions."""
    rng = np.random.default_rng(seed)
    found = []
    for pid, center in enumerate(rng.normal(size=(12, 10))):
        for _ in range(rng.integers(1, 6)):
            texts = center + rng.normal(size=(rng.integers(1, 4), 10)) * 1.6
            found.append(prediction(center + rng.normal(size=10), texts, pid))
    return [found[i] for i in rng.permutation(len(found))]


@pytest.mark.parametrize('seed', range(3))
def test_equals_lists_gone_down_by_hand(seed, monkeypatch):
    predictions = random_set(seed)
    expected = brute_force(predictions)
    assert 5 < expected['text_reid/Rank-1'] < 95
    found = score(predictions)
    assert found.pop('text_reid/captions') == sum(len(p['captions']) for p in predictions)
    assert found == pytest.approx(expected, abs=1e-6)
    # Few similarities at a time: the same, whatever their number.
    monkeypatch.setattr(cmc, 'BLOCK_ELEMENTS', 3 * len(predictions))
    again = score(predictions, batch=3)
    assert {name: again[name] for name in expected} == pytest.approx(found, abs=1e-9)


def test_similarities_of_all_captions_are_never_held_together(monkeypatch):
    """2,000 captions and images have 4 million similarities; blocks have 2^16."""
    monkeypatch.setattr(cmc, 'BLOCK_ELEMENTS', 2**16)
    held = []
    rank = cmc._rank_block
    monkeypatch.setattr(
        cmc, '_rank_block', lambda far, right: held.append(far.numel()) or rank(far, right)
    )
    rows = torch.randn(2000, 4)
    score([prediction(row, row[None], i) for i, row in enumerate(rows)])
    assert sum(held) == 2000**2
    assert max(held) <= 2**16


def test_features_that_are_not_finite_are_named():
    predictions = random_set(0)
    predictions[3]['caption_features'][0, 0] = torch.nan
    with pytest.raises(ValueError, match=r'caption features of 1 of .* are not finite'):
        score(predictions)


@pytest.fixture
def files(tmp_path) -> list[str]:
    paths = []
    for number, color in enumerate(('red', 'blue', 'green')):
        paths.append(str(tmp_path / f'{number}.png'))
        Image.new('RGB', (20, 40), color).save(paths[-1])
    return paths


def test_ranked_images_of_a_caption(files):
    features = torch.tensor([at(0), at(10), at(60)])
    texts = torch.tensor([at(9), at(50)])
    lists = rank_captions(
        ['a blue one', 'a red one'],
        texts,
        np.array([5, 4]),
        features,
        np.array([4, 5, 4]),
        files,
    )
    assert [row.hits for row in lists] == [[True, False, False], [True, False, True]]
    assert [image.getpixel((5, 5)) for image in lists[0].found] == [
        (0, 0, 255),
        (255, 0, 0),
        (0, 128, 0),
    ]


def test_the_sheet_has_captions_and_frames(files, tmp_path):
    predictions = [
        prediction(at(0), [at(1)], 1, files[0]),
        prediction(at(10), [at(90)], 2, files[1]),
    ]
    score(predictions, show_dir=str(tmp_path / 'shown'))
    sheet = Image.open(tmp_path / 'shown/ranked_captions.png').convert('RGB')
    colors = {color for _, color in sheet.getcolors(2**20)}
    assert {tuple(bytes.fromhex(name[1:])) for name in (HIT, MISS)} <= colors
    assert (255, 0, 0) in colors
    # Two rows of 136 and what is between; a caption beside two images.
    assert sheet.size == (CELL[0] + 8 + 18 + 2 * (72 + 6) - 6, 20 + 2 * (136 + 6) - 6)


def test_a_long_caption_is_cut():
    short, long = draw_caption('A man.'), draw_caption('trousers ' * 100)
    assert short.size == long.size == CELL
    ink = [np.asarray(image.convert('L')) < 128 for image in (short, long)]
    assert 0 < ink[0].sum() < ink[1].sum()
    assert not ink[1][-4:].any()
    assert not ink[1][:, -2:].any()
