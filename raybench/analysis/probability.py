"""How likely each backbone is the best: joint draws of what seeds and images leave open.

A draw moves each mean by a Student t of its seeds and all of a task's means together by its test
images, which they share. A flat prior makes such draws a posterior (Box and Tiao 1973, 2.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raybench.analysis.comparison import image_covariance
from raybench.analysis.samples import Sample
from raybench.records import is_minimised
from raybench.seeding import derive_seed

DRAWS = 5_000
RULE = (
    "Chance to be best: the share of 5,000 joint draws of all means, from a t distribution over "
    "seeds (folds) and, where predictions are kept, the shared test images. A failed backbone has "
    "none; one with a single seed borrows the task's median spread."
)
Draws = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chances:
    """Probabilities of being best; they sum to 1. A failed backbone has none.

    Attributes:
        best: by pair id (one task) or backbone (over tasks), likeliest first.
        scope: what they speak for, in words.
        of: what they are chances of, in words.
        draws: how many, which limits the precision (5,000: 1.4 points at most).
    """

    best: Mapping[str, float]
    scope: str
    of: str = "to be best"
    draws: int = DRAWS


def draw_means(samples: Sequence[Sample], *seed_names: str | int) -> Draws | None:
    """(DRAWS, P) plausible means of one task; None where nothing says how far they may be off.

    ``seed_names`` name the draw.
    """
    if not samples:
        return None
    rng = np.random.default_rng(derive_seed("chances", *seed_names))
    folds = any(one.final.folds > 1 for one in samples)
    moves = _fold_moves(samples, rng) if folds else _moves(samples, rng)
    if moves is None or not moves.any():
        return None
    return np.array([one.mean for one in samples]) + moves


def draw_data_sets(values: Draws, *seed_names: str | int) -> Draws:
    """(DRAWS, B) plausible means over data sets like these, from (D, B) values on each.

    A multivariate t. What seeds and images leave open on each data set is part of how the values
    differ between data sets, so it is not drawn again. ``seed_names`` name the draw.
    """
    rng = np.random.default_rng(derive_seed("chances", "data sets", *seed_names))
    return np.asarray(values.mean(axis=0) + _shared_moves(values.T, 0.0, rng))


def chances(
    draws: Draws, names: Sequence[str], minimised: bool, scope: str, of: str = "to be best"
) -> Chances:
    """From (D, P) draws; equal ones share their draw. Over all backbones they sum to 1."""
    best = draws.min(axis=1) if minimised else draws.max(axis=1)
    first = draws == best[:, None]
    shares = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    order = np.argsort(-shares, kind="stable")
    found = {names[i]: float(shares[i]) for i in order}
    return Chances(found, scope, of, len(draws))


def task_chances(samples: Sequence[Sample], draws: Draws | None) -> Chances | None:
    """Of one task, for its test images' kind and other seeds."""
    if draws is None or len(samples) < 2:
        return None
    images = all(one.images is not None for one in samples)
    folds = samples[0].final.folds > 1
    scope = "folds" if folds else "seeds and test images" if images else "seeds"
    minimised = is_minimised(samples[0].final.metric)
    return chances(draws, [one.pair for one in samples], minimised, scope)


def _moves(samples: Sequence[Sample], rng: np.random.Generator) -> Draws | None:
    known = [v for one in samples if (v := one.run_variance) is not None]
    if not known:
        return None
    borrowed = float(np.median(known))
    own = [borrowed if (v := one.run_variance) is None else v for one in samples]
    runs = np.array([one.runs for one in samples])
    residual = np.array([one.residual for one in samples])
    scale = np.sqrt(np.maximum(0.0, np.array(own) / runs - residual))
    moves = scale * rng.standard_t(np.maximum(1, runs - 1), (DRAWS, len(samples)))
    covariance, has = image_covariance(samples)
    if has.any():
        moves += rng.standard_normal((DRAWS, len(samples))) @ _root(covariance)
    return np.asarray(moves)


def _fold_moves(samples: Sequence[Sample], rng: np.random.Generator) -> Draws | None:
    """Over the folds that all have: backbones share the images of a fold."""
    folds = sorted(set.intersection(*(set(one.units) for one in samples)))
    if len(folds) < 2:
        return None
    units = np.array([[one.units[fold] for fold in folds] for one in samples])
    overlap = max(one.final.overlap for one in samples)
    return _shared_moves(units, overlap, rng)


def _shared_moves(units: Draws, overlap: float, rng: np.random.Generator) -> Draws:
    """(DRAWS, P) of a multivariate t, from (P, N) values on units that all share."""
    backbones, count = units.shape
    covariance = np.atleast_2d(np.cov(units)) * (1 / count + overlap)
    spread = np.sqrt((count - 1) / rng.chisquare(count - 1, (DRAWS, 1)))
    return np.asarray(rng.standard_normal((DRAWS, backbones)) @ _root(covariance) * spread)


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, P) whose product with its transpose is ``covariance``, turned for rows of draws.

    Backbones that agree on every image make it singular, so a billionth is added to the diagonal.
    """
    size = float(np.trace(covariance))
    if size == 0:
        return covariance
    whole = covariance + 1e-9 * size * np.eye(len(covariance))
    return np.asarray(np.linalg.cholesky(whole).T)
