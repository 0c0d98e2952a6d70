"""Retrieval scores against hand-computed cases and a loop written from the rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saip.evaluation import RetrievalMetric, cmc
from saip.evaluation.cmc import cmc_map, cmc_map_from_distance


def score_by_loop(distance, q_pids, g_pids, q_cams, g_cams, ranks):
    """Score one query after the other, in plain Python."""
    first_ranks, precisions = [], []
    for i, row in enumerate(distance):
        ranking = [
            g_pids[j] == q_pids[i]
            for j in sorted(range(len(row)), key=lambda j: (row[j], j))
            if g_pids[j] != -1 and not (g_pids[j] == q_pids[i] and g_cams[j] == q_cams[i])
        ]
        if q_pids[i] == -1 or not any(ranking):
            continue
        hits = [place for place, hit in enumerate(ranking, start=1) if hit]
        first_ranks.append(hits[0])
        precisions.append(sum(n / place for n, place in enumerate(hits, start=1)) / len(hits))
    result = {f'Rank-{k}': 100 * np.mean([rank <= k for rank in first_ranks]) for k in ranks}
    return result | {
        'mAP': 100 * np.mean(precisions),
        'queries': len(first_ranks),
        'unmatched_queries': len(distance) - len(first_ranks),
    }


@pytest.mark.parametrize(
    ('g_pids', 'g_cams', 'rank_1', 'mean_ap'),
    [
        ([7, 5, 7, 5], [2, 2, 3, 3], 100, 100 * (1 + 2 / 3) / 2),
        # The nearest is the query's own camera: removed, so that the others move up.
        ([7, 5, 7, 5], [1, 2, 3, 3], 0, 100 * 1 / 2),
        # Junk in second place is removed: the two matches are first and second.
        ([7, -1, 7, 5], [2, 2, 3, 3], 100, 100),
        # A distractor in first place stays and is wrong, also under the query's camera.
        ([0, 7, 5, 7], [1, 2, 3, 3], 0, 100 * (1 / 2 + 2 / 4) / 2),
    ],
    ids=['plain', 'same-camera', 'junk', 'distractor'],
)
def test_hand_computed(g_pids, g_cams, rank_1, mean_ap):
    distance = torch.tensor([[0.1, 0.2, 0.3, 0.4]])

    result = cmc_map_from_distance(distance, [7], g_pids, [1], g_cams, ranks=(1, 2))

    assert result['Rank-1'] == pytest.approx(rank_1)
    assert result['Rank-2'] == pytest.approx(100)
    assert result['mAP'] == pytest.approx(mean_ap)


def test_equal_distances_keep_the_order_of_the_gallery():
    distance = torch.zeros(2, 4)

    result = cmc_map_from_distance(distance, [1, 2], [1, 2, 1, 2], [1, 1], [2] * 4)

    assert result['Rank-1'] == 50
    assert result['mAP'] == pytest.approx(100 * ((1 + 2 / 3) / 2 + (1 / 2 + 2 / 4) / 2) / 2)


def test_query_without_match_is_counted_and_left_out():
    distance = torch.tensor([[0.1, 0.2], [0.1, 0.2], [0.1, 0.2]])

    result = cmc_map_from_distance(distance, [1, 9, -1], [1, -1], [1, 1, 1], [2, 2])

    assert (result['queries'], result['unmatched_queries']) == (1, 2)
    assert result['mAP'] == 100


@pytest.mark.parametrize('block', [1, 40, 10**6])
@pytest.mark.parametrize('seed', range(3))
def test_equals_loop(monkeypatch, seed, block):
    monkeypatch.setattr(cmc, 'BLOCK_ELEMENTS', block)
    rng = np.random.default_rng(seed)
    q_pids, g_pids = rng.integers(-1, 6, 23), rng.integers(-1, 6, 31)
    q_cams, g_cams = rng.integers(0, 3, 23), rng.integers(0, 3, 31)
    distance = torch.from_numpy(rng.integers(0, 12, (23, 31)) / 4)  # many ties

    result = cmc_map_from_distance(distance, q_pids, g_pids, q_cams, g_cams, (1, 3))

    labels = (q_pids, g_pids, q_cams, g_cams)
    assert result == pytest.approx(score_by_loop(distance.tolist(), *labels, (1, 3)))


def test_features_are_compared_by_cosine(monkeypatch):
    monkeypatch.setattr(cmc, 'BLOCK_ELEMENTS', 100)
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(20, 8, generator=generator)
    gallery = torch.randn(30, 8, generator=generator) * torch.arange(1, 31)[:, None]
    pids, cams = np.arange(50) % 5, np.arange(50) // 5 % 3
    labels = (pids[:20], pids[20:], cams[:20], cams[20:])
    cosine = torch.nn.functional.cosine_similarity(
        query.double()[:, None], gallery.double()[None], dim=2
    )

    result = cmc_map(query, gallery, *labels)

    assert result == pytest.approx(score_by_loop((-cosine).tolist(), *labels, (1, 5, 10)))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((torch.eye(2), torch.eye(2), [1, 2], [1, 2], [1, 1], [1, 1]), 'none of 2 queries'),
        ((torch.zeros(0, 2), torch.eye(2), [], [1, 2], [], [1, 1]), 'none of 0 queries'),
        ((torch.eye(2), torch.zeros(0, 2), [1, 2], [], [1, 1], []), 'among 0 gallery images'),
        ((torch.eye(2), torch.eye(3), [1, 2], [1, 2, 3], [1, 1], [2] * 3), '2 dimensions'),
        ((torch.eye(2), torch.eye(2), [1], [1, 2], [1, 1], [2, 2]), r'q_pids .* \(2,\)'),
        (
            (torch.full((1, 2), torch.nan), torch.eye(2), [1], [1, 2], [1], [2, 2]),
            'query features of 1 of 1 images are not finite',
        ),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cmc_map(*arguments)


def labeled_predictions():
    features = torch.eye(4)[[0, 1, 0, 1, 2]]
    samples = [(1, 1, 1), (2, 1, 1), (1, 2, 0), (2, 2, 0), (0, 3, 0)]
    return [
        {
            'student': feature,
            'expert': torch.ones(4),
            'pid': pid,
            'camid': camid,
            'is_query': is_query,
            'index': index,
        }
        for index, (feature, (pid, camid, is_query)) in enumerate(
            zip(features, samples, strict=True)
        )
    ]


def test_metric_reports_both_networks():
    metric = RetrievalMetric()
    metric.process(None, labeled_predictions()[:3])
    metric.process(None, labeled_predictions()[3:])

    report = metric.evaluate(5)

    assert report['retrieval/student_Rank-1'] == 100
    assert report['retrieval/student_mAP'] == 100
    assert report['retrieval/expert_mAP'] == pytest.approx(100 * (1 + 1 / 2) / 2)
    assert report['retrieval/expert_feature_std'] == pytest.approx(0, abs=1e-6)
    assert report['retrieval/student_feature_std_healthy'] == pytest.approx(0.5)
    assert report['retrieval/images'] == 5


def test_metric_without_expert():
    metric = RetrievalMetric()
    predictions = [{**p, 'expert': None} for p in labeled_predictions()]
    metric.process(None, predictions)

    assert not any('expert' in name for name in metric.evaluate(5))


def test_metric_names_the_metric_for_unlabeled_images():
    with pytest.raises(ValueError, match=r'saip\.TwoViewRecall'):
        RetrievalMetric().process(None, [{'student': torch.ones(2, 4), 'index': 0}])
