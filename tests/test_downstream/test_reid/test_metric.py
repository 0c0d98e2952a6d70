"""CMC, mAP and re-ranking against second implementations that go image by image."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from saip.downstream.reid import ReIDMetric
from saip.downstream.reid.ranked import rank_queries
from saip.downstream.reid.rerank import ReRanking, rerank


def prediction(feature, pid, camid, is_query, img_path='') -> dict:
    return dict(
        feature=torch.as_tensor(feature, dtype=torch.float32),
        pid=pid,
        camid=camid,
        is_query=is_query,
        img_path=img_path,
    )


def score(predictions: list[dict], batch: int = 7, **options) -> dict[str, float]:
    metric = ReIDMetric(**options)
    for start in range(0, len(predictions), batch):
        metric.process(None, predictions[start : start + batch])
    return metric.evaluate(len(predictions))


def brute_force(predictions: list[dict], distance=None) -> dict[str, float]:
    """Go down each query's list by hand."""
    queries = [p for p in predictions if p['is_query']]
    gallery = [p for p in predictions if not p['is_query']]
    first_hits, precisions = [], []
    for number, q in enumerate(queries):

        def far(j, number=number, q=q):
            if distance is not None:
                return float(distance[number][j])
            g = gallery[j]
            return 1 - float(torch.cosine_similarity(q['feature'], g['feature'], dim=0))

        rank, hits, total = 0, 0, 0.0
        for j in sorted(range(len(gallery)), key=far):
            g = gallery[j]
            if g['pid'] == -1 or (g['pid'] == q['pid'] and g['camid'] == q['camid']):
                continue
            rank += 1
            if g['pid'] == q['pid']:
                hits += 1
                total += hits / rank
                if hits == 1:
                    first_hits.append(rank)
        precisions.append(total / hits)
    scores = {'reid/mAP': 100 * np.mean(precisions)}
    for k in (1, 5, 10):
        scores[f'reid/Rank-{k}'] = 100 * np.mean([first <= k for first in first_hits])
    return scores


def random_set(seed: int) -> list[dict]:
    """Six persons under three cameras, distractors and junk among them."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(7, 12))
    shots = [(pid, cam, q) for pid in range(1, 7) for cam in range(3) for q in (1, 0, 0)]
    shots += [(0, rng.integers(3), 0) for _ in range(9)] + [(-1, 0, 0) for _ in range(7)]
    order = rng.permutation(len(shots))
    found = []
    for i in order:
        pid, cam, is_query = shots[i]
        center = centers[pid] if pid > 0 else centers[rng.integers(1, 7)]
        found.append(prediction(center + rng.normal(size=12) * 1.5, pid, int(cam), is_query))
    return found


def test_four_images_by_hand():
    """The nearest is the query's own camera and does not count; a stranger comes before."""
    found = score(
        [
            prediction([1, 0], 1, 1, 1),
            prediction([1, 0.01], 1, 1, 0),
            prediction([1, 0.2], 2, 2, 0),
            prediction([1, 0.5], 1, 2, 0),
        ]
    )
    assert found == {
        'reid/mAP': 50.0,
        'reid/Rank-1': 0.0,
        'reid/Rank-5': 100.0,
        'reid/Rank-10': 100.0,
        'reid/queries': 1,
    }
    assert next(iter(found)) == 'reid/mAP'


@pytest.mark.parametrize('seed', range(3))
def test_equals_a_list_gone_down_by_hand(seed):
    predictions = random_set(seed)
    found = score(predictions)
    expected = brute_force(predictions)
    assert 5 < expected['reid/mAP'] < 95
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_lengths_of_features_do_not_matter():
    predictions = random_set(3)
    scaled = [{**p, 'feature': p['feature'] * (i + 1)} for i, p in enumerate(predictions)]
    assert score(scaled) == pytest.approx(score(predictions))


def dense_rerank(features: np.ndarray, queries: int, k1: int, k2: int, own: float):
    """The method with sets and full matrices (Zhong et al., 2017, equations 3 to 12)."""
    n = len(features)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    d = ((unit[:, None] - unit[None]) ** 2).sum(-1)
    d = d / d.max(1, keepdims=True)
    near = [sorted(range(n), key=lambda j, i=i: (j != i, d[i, j])) for i in range(n)]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in near[i][: k + 1] if i in near[j][: k + 1]}

    v = np.zeros((n, n))
    for i in range(n):
        base = reciprocal(i, k1)
        extended = set(base)
        for j in base:
            candidate = reciprocal(j, int(np.around(k1 / 2)))
            if len(candidate & base) > 2 / 3 * len(candidate):
                extended |= candidate
        for j in extended:
            v[i, j] = np.exp(-d[i, j])
        v[i] /= v[i].sum()
    v = np.stack([np.mean([v[j] for j in near[i][:k2]], axis=0) for i in range(n)])
    jaccard = np.zeros((queries, n - queries))
    for q, g in itertools.product(range(queries), range(n - queries)):
        a, b = v[q], v[queries + g]
        jaccard[q, g] = 1 - np.minimum(a, b).sum() / np.maximum(a, b).sum()
    return own * d[:queries, queries:] + (1 - own) * jaccard


@pytest.mark.parametrize(
    ('k1', 'k2', 'own'), [(8, 3, 0.3), (5, 1, 0.0), (60, 6, 0.5), (7, 2, 1)]
)
def test_reranking_equals_sets_and_full_matrices(k1, k2, own):
    rng = np.random.default_rng(k1)
    centers = rng.normal(size=(6, 10)).repeat(8, axis=0)
    features = (centers + rng.normal(size=centers.shape)).astype(np.float32)
    features = features[rng.permutation(len(features))]
    found = rerank(
        torch.from_numpy(features[:12]),
        torch.from_numpy(features[12:]),
        ReRanking(k1, k2, own),
    )
    expected = dense_rerank(features.astype(np.float64), 12, k1, k2, own)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_reranked_scores_stand_beside_the_others():
    predictions = random_set(0)
    plain = score(predictions)
    found = score(predictions, rerank=dict(k1=8, k2=3))
    assert {name: found[name] for name in plain} == plain
    queries = [p['feature'].numpy() for p in predictions if p['is_query']]
    gallery = [p['feature'].numpy() for p in predictions if not p['is_query']]
    distance = dense_rerank(np.stack(queries + gallery), len(queries), 8, 3, 0.3)
    for name, value in brute_force(predictions, distance).items():
        found_name = name.replace('reid/', 'reid/reranked_')
        assert found[found_name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(k1=3, k2=4), '1 <= k2 <= k1 is needed, not k1=3 k2=4'),
        (dict(lambda_value=30), r'rerank.lambda_value=30: choose from 0 to 1'),
    ],
)
def test_senseless_reranking_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ReIDMetric(rerank=options)


def test_ranked_lists_show_what_the_metric_counts(tmp_path):
    found = [
        ([1, 0], 1, 1, 1),
        ([1, 0.01], 1, 1, 0),
        ([1, 0.2], 2, 2, 0),
        ([1, 0.5], 1, 2, 0),
        ([1, 0.1], 0, 1, 0),
    ]
    paths = [str(tmp_path / f'{i}.png') for i in range(len(found))]
    for i, path in enumerate(paths):
        Image.new('RGB', (8, 16), (i, 0, 0)).save(path)
    columns = np.array([f[1:] for f in found]).T
    labels = dict(zip(('pid', 'camid', 'is_query'), columns, strict=True))
    features = torch.tensor([f[0] for f in found], dtype=torch.float32)
    (row,) = rank_queries(features, labels, paths)
    assert row.query.getpixel((0, 0)) == (0, 0, 0)
    assert [image.getpixel((0, 0))[0] for image in row.found] == [4, 2, 3]
    assert list(row.hits) == [False, False, True]
    shown = [prediction(*f, path) for f, path in zip(found, paths, strict=True)]
    score(shown, show_dir=str(tmp_path / 'shown'))
    assert Image.open(tmp_path / 'shown/ranked_lists.png').size[0] > 3 * 64
