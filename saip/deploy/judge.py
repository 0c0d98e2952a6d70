"""Whether an int8 model is still as good as the one in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saip.deploy.comparison import Comparison, compare_outputs
from saip.deploy.program import Output
from saip.deploy.retrieval import RetrievalSet, keeps
from saip.deploy.running import Outputs, Run, person_features, run_all
from saip.errors import InputError

COSINE = 0.99
"""Smallest cosine of centered outputs of the int8 model and the one in float."""

KEPT_SHARE = 0.5
"""Largest share of the layers that may stay in float."""


class QuantizationError(InputError):
    """A model cannot be quantized without losing what it has learned."""


@dataclass(frozen=True)
class Kept:
    """Layers of an int8 model that stay in float.

    Attributes:
        names: of them; the most sensitive first where they were searched for.
        layers: how many the model has.
    """

    names: tuple[str, ...]
    layers: int

    def __str__(self) -> str:
        """One line for the screen."""
        text = f'int8: {self.layers - len(self.names)} of {self.layers} layers'
        return f'{text}; in float: {", ".join(self.names)}' if self.names else text


@dataclass(frozen=True)
class Verdict:
    """What an int8 model costs.

    Attributes:
        comparisons: of every output.
        cosine: the smallest of them.
        retrieval: metrics by ``float`` and ``int8``, and the ``set``; None without persons.
        fine: whether both are good enough.
    """

    comparisons: list[Comparison]
    cosine: float
    retrieval: dict[str, Any] | None
    fine: bool


class Judge:
    """Compares int8 models with the one in float: by their outputs, and by their task.

    Args:
        outputs: of the model.
        run: the model in float.
        meta: its description.
        inputs: (N, ...) on which outputs are compared.
        people: to be retrieved before and after; None where the task has no feature of persons.

    Attributes:
        meta: as given.
        inputs: as given.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        run: Run,
        meta: Mapping[str, Any],
        inputs: np.ndarray,
        people: RetrievalSet | None,
    ) -> None:
        self.meta = meta
        self.inputs = inputs
        self._outputs = outputs
        self._people = people
        self._wanted = self._run_all(run)
        self._before = self._scores(run)

    def comparisons(self, run: Run) -> list[Comparison]:
        """Every output of an int8 model beside that of the model in float."""
        return compare_outputs(self._outputs, self._wanted, self._run_all(run))

    def cosine(self, run: Run) -> float:
        """The smallest cosine of centered outputs."""
        return min(comparison.cosine for comparison in self.comparisons(run))

    def keeps_metric(self, run: Run) -> bool:
        """Whether an int8 model still finds the persons."""
        return keeps(self._before, self._scores(run))

    def verdict(self, run: Run) -> Verdict:
        """All about an int8 model at once."""
        comparisons = self.comparisons(run)
        after = self._scores(run)
        cosine = min(comparison.cosine for comparison in comparisons)
        fine = cosine >= COSINE and keeps(self._before, after)
        retrieval = None
        if self._people is not None:
            retrieval = {'set': self._people.name, 'float': self._before, 'int8': after}
        return Verdict(comparisons, cosine, retrieval, fine)

    def _run_all(self, run: Run) -> Outputs:
        return run_all(run, self.inputs, self.meta['input']['shape'][0])

    def _scores(self, run: Run) -> dict[str, float]:
        if self._people is None:
            return {}
        return self._people.score(lambda images: person_features(run, self.meta, images))


def refuse(kept: int, layers: int, cosine: float) -> QuantizationError:
    """The error of a model that loses too much with some of its layers in float."""
    return QuantizationError(
        f'int8 refused: with {kept} of {layers} layers in float, the cosine of its centered '
        f'outputs with those in float is {cosine:.3f} ({COSINE} is needed), or its mAP falls by '
        'more than a point; more than half of the layers would have to stay in float'
    )
