"""How far probabilities can be trusted, and how each class fares: from stored predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from raybench.analysis import numbers
from raybench.analysis.intervals import Interval, wilson_interval
from raybench.analysis.outcomes import BINS, Bins, Outcomes, Run
from raybench.analysis.results import FinalValues

NOTE = (
    "NLL, Brier score (summed over classes) and expected calibration error (15 equal bins of the "
    "predicted class's confidence) are taken per run and averaged over seeds (folds), with the t "
    "interval over them. The diagram and the confusion matrix pool all runs. Recall of a class: "
    "mean over its test images of the share of runs that are right; Wilson interval over images."
)
_CONFUSIONS_NAMED = 5


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions with a confidence from ``low`` up to ``high``; means of the two."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Recall:
    """One class; ``images``: of it in the test split."""

    label: str
    images: int
    recall: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Confused:
    """Images of ``label`` taken for ``guess``: predictions over all runs, share of the class's."""

    label: str
    guess: str
    count: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Predictions of all runs, sparse: ``counts[i]`` of class ``labels[i]`` as ``guesses[i]``."""

    classes: tuple[str, ...]
    labels: NDArray[np.int32]
    guesses: NDArray[np.int32]
    counts: NDArray[np.int32]

    @property
    def matrix(self) -> NDArray[np.int64]:
        """(C, C), rows are the true classes."""
        matrix = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        matrix[self.labels, self.guesses] = self.counts
        return matrix

    @property
    def most_confused(self) -> tuple[Confused, ...]:
        """The largest counts off the diagonal."""
        support = np.bincount(self.labels, self.counts, minlength=len(self.classes))
        wrong = np.flatnonzero(self.labels != self.guesses)
        ranked = wrong[np.argsort(-self.counts[wrong], kind="stable")][:_CONFUSIONS_NAMED]
        return tuple(
            Confused(
                label=self.classes[self.labels[index]],
                guess=self.classes[self.guesses[index]],
                count=int(self.counts[index]),
                share=float(self.counts[index] / support[self.labels[index]]),
            )
            for index in ranked.tolist()
        )


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """One pair; ``images``: different test images; intervals over seeds (folds), None under two."""

    task: str
    backbone: str
    runs: int
    images: int
    nll: float
    nll_interval: Interval | None
    brier: float
    brier_interval: Interval | None
    ece: float
    ece_interval: Interval | None
    bins: tuple[Bin, ...]
    recalls: tuple[Recall, ...]
    confusion: Confusion

    @property
    def confidence_gap(self) -> float:
        """Mean confidence minus accuracy: above 0 is too sure of itself."""
        images = sum(found.images for found in self.bins)
        return sum(b.images * (b.confidence - b.accuracy) for b in self.bins) / images

    @property
    def sentence(self) -> str:
        """How far confidence and accuracy are apart, and the worst class."""
        worst = min(self.recalls, key=lambda found: found.recall)
        gap = 100 * self.confidence_gap
        sure = "too sure of itself" if gap > 0 else "too unsure of itself"
        low, high = (100 * end for end in worst.interval)
        return (
            f"{numbers.clean(self.backbone)} on {self.task} is {sure} by {abs(gap):.1f} points on "
            f"average (ECE {self.ece:.3f}); it finds {numbers.clean(worst.label)} least: "
            f"{100 * worst.recall:.0f}% [{low:.0f}, {high:.0f}] of {worst.images:,} images."
        )


def pair_calibration(outcomes: Outcomes) -> Calibration:
    """Of all runs of one pair."""
    nll = _over_runs(outcomes, "test/nll", lambda run: run.nll)
    brier = _over_runs(outcomes, "test/brier", lambda run: run.brier)
    ece = _over_runs(outcomes, "test/ece", lambda run: run.bins.error)
    return Calibration(
        task=outcomes.result.task,
        backbone=outcomes.result.pair.backbone,
        runs=len(outcomes.runs),
        images=sum(len(part.ids) for part in outcomes.parts.values()),
        nll=nll.mean or 0.0,
        nll_interval=nll.ci95,
        brier=brier.mean or 0.0,
        brier_interval=brier.ci95,
        ece=ece.mean or 0.0,
        ece_interval=ece.ci95,
        bins=tuple(_bins(reduce(add, (run.bins for run in outcomes.runs)))),
        recalls=tuple(_recalls(outcomes)),
        confusion=_confusion(outcomes),
    )


def _over_runs(outcomes: Outcomes, metric: str, score: Callable[[Run], float]) -> FinalValues:
    """Averaged like the pair's own metric: over seeds, or over folds of seeds."""
    by_run = {(run.seed, run.fold): score(run) for run in outcomes.runs}
    final = outcomes.result.final
    return FinalValues(metric, by_run, final.wanted, final.folds)


def _bins(bins: Bins) -> Iterator[Bin]:
    """Those that hold any; a confidence of exactly 1 belongs to the last."""
    table = np.stack([bins.counts, bins.confidence, bins.hits])
    table[:, BINS - 1] += table[:, BINS]
    for index, (count, confidence, hits) in enumerate(table[:, :BINS].T.tolist()):
        if count:
            low, high = index / BINS, (index + 1) / BINS
            yield Bin(low, high, int(count), confidence / count, hits / count)


def _recalls(outcomes: Outcomes) -> Iterator[Recall]:
    """Of classes that have test images."""
    labels = np.concatenate([part.labels for part in outcomes.parts.values()])
    shares = np.concatenate([part.hits.mean(axis=0) for part in outcomes.parts.values()])
    images = np.bincount(labels, minlength=len(outcomes.classes))
    found = np.bincount(labels, shares, minlength=len(outcomes.classes))
    for index in np.flatnonzero(images).tolist():
        recall = min(1.0, float(found[index] / images[index]))
        interval = wilson_interval(recall, int(images[index]))
        yield Recall(outcomes.classes[index], int(images[index]), recall, interval)


def _confusion(outcomes: Outcomes) -> Confusion:
    cells, counts = np.unique(np.concatenate(list(outcomes.cells())), return_counts=True)
    labels, guesses = np.divmod(cells, len(outcomes.classes))
    return Confusion(
        outcomes.classes,
        labels.astype(np.int32),
        guesses.astype(np.int32),
        counts.astype(np.int32),
    )
