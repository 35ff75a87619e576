"""One configuration of one pair as the statistics see it: its finals, and what its images say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from raybench.analysis.evidence import Evidence
from raybench.analysis.influence import Values
from raybench.analysis.results import FinalValues, PairResult

_NO_SPREAD = 1e-12  # standard deviations below are rounding


@dataclass(frozen=True, eq=False)
class Sample:
    """The finals of one configuration.

    Attributes:
        pair: its id.
        final: the metric over seeds (folds); not empty.
        images: (G,) what each cluster of images says, averaged over seeds, in one order for the
            whole task; None without predictions.
        residual: see ``Evidence``; 0 without predictions.
    """

    pair: str
    final: FinalValues
    images: Values | None = None
    residual: float = 0.0

    @cached_property
    def units(self) -> dict[int, float]:
        """The mean of each seed, or of each fold."""
        return self.final.by_unit

    @cached_property
    def mean(self) -> float:
        return fmean(self.units.values())

    @property
    def runs(self) -> int:
        """Seeds, or folds."""
        return len(self.units)

    @cached_property
    def run_variance(self) -> float | None:
        """Of single seeds (folds); None under two. Exactly 0 where they are all alike."""
        if self.runs < 2:
            return None
        found = float(np.var(list(self.units.values()), ddof=1))
        return found if found > _NO_SPREAD**2 else 0.0

    @property
    def seed_variance(self) -> float | None:
        """Of the mean, over seeds (folds; Nadeau and Bengio 2003)."""
        spread = self.run_variance
        return None if spread is None else spread * (1 / self.runs + self.final.overlap)

    @cached_property
    def image_variance(self) -> float | None:
        """Of the mean, over test images (groups); None without predictions, or with one only."""
        if self.images is None or len(self.images) < 2:
            return None
        return float(self.images.var(ddof=1)) / len(self.images)


def sample(result: PairResult, config: str, evidence: Evidence | None) -> Sample | None:
    """``config`` (``tuned``, ``default``) of one pair; None without a complete final of it."""
    final = result.final if config == result.config else result.final_default
    if final is None or not final.by_run or config not in ("default", result.config):
        return None
    column = None if evidence is None else evidence.column((result.pair.id, config))
    if evidence is None or column is None:
        return Sample(result.pair.id, final)
    values = evidence.values[:, column].astype(float)
    return Sample(result.pair.id, final, values, float(evidence.residual[column]))


def samples(
    results: Iterable[PairResult], evidence: Evidence | None, config: str | None = None
) -> tuple[Sample, ...]:
    """Of those that have any; ``config`` None: the one that each pair's result is about."""
    found = (sample(result, config or result.config, evidence) for result in results)
    return tuple(one for one in found if one is not None)
