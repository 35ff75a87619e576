"""Finished pairs and samples by their final values alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.results import FinalValues
from raybench.analysis.samples import Sample
from raybench.records import PairRow, PairState
from tests.factories import final_trial, make_pair, pair_id, search_trial


def finished(
    backbone: str,
    values: Sequence[float],
    metric: str = "val/accuracy",
    dataset: str = "digits",
    subset: str = "full",
    state: PairState = "done",
) -> PairRow:
    """One final per value, seeds 0, 1, ..."""
    name = pair_id(backbone, dataset, subset)
    finals = [final_trial(name, s, s, v, metric=metric) for s, v in enumerate(values)]
    trials = [search_trial(name, 0, metric=metric), *finals]
    return make_pair(backbone, trials, dataset, subset, state)


def sample(
    pair: str,
    values: Sequence[float] | NDArray[np.float64],
    images: NDArray[np.float64] | None = None,
    residual: float = 0.0,
    metric: str = "test/accuracy",
) -> Sample:
    """One value per seed."""
    by_run = {(seed, 0): float(value) for seed, value in enumerate(values)}
    return Sample(pair, FinalValues(metric, by_run, len(by_run)), images, residual)


def crossed_sample(pair: str, runs: NDArray[np.float64]) -> Sample:
    """From (seeds, images) values, as ``EvidenceCollector`` folds them."""
    seeds, images = runs.shape
    by_seed, by_image = runs.mean(axis=1), runs.mean(axis=0)
    rest = runs - by_seed[:, None] - by_image + runs.mean()
    residual = float((rest**2).sum()) / ((seeds - 1) * (images - 1) * seeds * images)
    return sample(pair, by_seed, by_image, residual)
