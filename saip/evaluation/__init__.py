"""Evaluation of frozen features: retrieval, two-view recall, collapse, baselines."""

from saip.evaluation.neighbors import KNNMetric
from saip.evaluation.retrieval import RetrievalMetric
from saip.evaluation.two_view import TwoViewRecall

__all__ = ['KNNMetric', 'RetrievalMetric', 'TwoViewRecall']
