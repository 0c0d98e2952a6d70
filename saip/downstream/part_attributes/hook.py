"""What is known of attributes comes into the model when a training begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from saip.datasets.knowledge import NORMALIZATIONS, load_counts, matrix_of
from saip.errors import InputError
from saip.registry import HOOKS

from .dataset import Fashionpedia
from .head import KEHead


@HOOKS.register_module()
class KnowledgeHook(Hook):
    """Fills the knowledge matrix of :class:`saip.KEHead`, and watches over its columns.

    A training whose weights have none counts categories and attributes over its own annotations.
    One that goes on, or begins with weights that have one, keeps it, and so does a test. The
    attributes of every data set have to be those with which it was filled.

    Args:
        counts: a file that ``tools/dataset_converters/make_knowledge_matrix.py`` wrote, in place of
            the training's own annotations.
        normalization: from counts to the matrix, see
            :func:`saip.datasets.knowledge.matrix_of`; the published one is not documented.

    Raises:
        InputError: there is no such normalization.
        MissingFileError: there is no file ``counts``.
        DataError: it is no such file.
    """

    def __init__(self, counts: str | None = None, normalization: str = 'garments') -> None:
        if normalization not in NORMALIZATIONS:
            raise InputError(
                f'saip.KnowledgeHook: normalization={normalization!r}; choose '
                f'{" or ".join(NORMALIZATIONS)}'
            )
        self.normalization = normalization
        self.file = counts
        self.counts = None if counts is None else load_counts(Path(counts))

    def before_train(self, runner: Runner) -> None:
        """Fill the matrix, unless the weights have one.

        Raises:
            InputError: the data set is another, or its attributes are.
        """
        head, dataset = _head(runner), runner.train_dataloader.dataset
        if head.has_knowledge:
            print_log('The knowledge matrix is that of the weights.', logger='current')
        elif not isinstance(dataset, Fashionpedia):
            raise InputError(
                f'saip.KnowledgeHook: train_dataloader.dataset is a {type(dataset).__name__}, but '
                'attributes are counted over a saip.Fashionpedia'
            )
        else:
            counts = dataset.counts if self.counts is None else self.counts
            assert counts is not None
            matrix = torch.from_numpy(matrix_of(counts, self.normalization))
            head.knowledge.copy_(matrix)
            head.attribute_ids.copy_(torch.from_numpy(counts.attribute_ids))
            source = self.file or dataset.ann_file
            text = f'Knowledge matrix: {np.count_nonzero(matrix)} pairs counted over {source}'
            print_log(f'{text} {counts.digest[:12]}'.strip(), logger='current')
        _check_columns(head, dataset)

    def before_val(self, runner: Runner) -> None:
        """Compare the attributes of the data set with the model's.

        Raises:
            InputError: they differ.
        """
        head = _head(runner)
        if head.has_knowledge:  # an untrained model is validated, too: it says nothing yet
            _check_columns(head, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Compare the attributes of the data set with the model's.

        Raises:
            InputError: they differ, or the weights come from no training.
        """
        head = _head(runner)
        if not head.has_knowledge:
            raise InputError(
                'the weights have no knowledge matrix (roi_head.attribute_head.knowledge): they '
                'come from no training with saip.KnowledgeHook'
            )
        _check_columns(head, runner.test_dataloader.dataset)


def _head(runner: Runner) -> KEHead:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return model.roi_head.attribute_head


def _check_columns(head: KEHead, dataset: BaseDataset) -> None:
    expected = tuple(head.attribute_ids.tolist())
    found = tuple(dataset.metainfo.get('attribute_ids', ()))
    if found != expected:
        other = min(set(found) ^ set(expected))
        raise InputError(
            f'{dataset.ann_file}: its attributes are not those of the model: only one of the two '
            f'has the id {other}'
        )
