"""Images that go wrong: surest mistakes of each backbone, and images that none gets right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from raybench.analysis import numbers
from raybench.analysis.outcomes import Outcomes, Part

SHOWN = 12
_AGREED = 0.8


@dataclass(frozen=True, slots=True)
class Mistake:
    """One image that one backbone takes for something else.

    ``confidence``: mean of the ``wrong`` of ``runs`` that guess so.
    """

    image: str
    label: str
    guess: str
    confidence: float
    wrong: int
    runs: int


@dataclass(frozen=True, slots=True)
class Worst:
    """One backbone's surest mistakes: most of the probability of all runs on one wrong class."""

    task: str
    backbone: str
    examples: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class MissedByAll:
    """An image that every run of every backbone gets wrong.

    ``guess``: what most runs take it for; ``share``: of the runs that do; ``backbones``: how many.
    """

    image: str
    label: str
    guess: str
    share: float
    backbones: int


@dataclass(frozen=True, slots=True)
class TaskMistakes:
    """One task.

    Attributes:
        worst: per backbone with predictions.
        missed_by_all: those that runs agree on most, first; at most ``SHOWN``.
        missed, agreed: how many there are, and how many of them most runs (80%) take for the same
            class; with one backbone none are looked for.
        images: in the test split (in all folds).
    """

    task: str
    dataset: str
    worst: tuple[Worst, ...]
    missed_by_all: tuple[MissedByAll, ...]
    missed: int
    agreed: int
    images: int

    @property
    def sentence(self) -> str:
        """How many images nobody gets right, and whether their labels are to be doubted."""
        if len(self.worst) < 2:
            return ""
        text = (
            f"On {self.task} {self.missed:,} of {numbers.plural(self.images, 'test image')} are "
            "missed by every run of every backbone"
        )
        if not self.agreed:
            return f"{text}."
        return (
            f"{text}; most runs take {self.agreed:,} of them for one other class: check the labels."
        )


def task_mistakes(pairs: Sequence[Outcomes]) -> TaskMistakes:
    """Of one task's pairs that have predictions."""
    result = pairs[0].result
    parts = _parts(pairs)
    missed = sorted(_missed(parts, pairs[0].classes), key=lambda found: (-found.share, found.image))
    missed = missed if len(pairs) > 1 else []
    return TaskMistakes(
        task=result.task,
        dataset=result.pair.dataset,
        worst=tuple(_worst(outcomes) for outcomes in pairs),
        missed_by_all=tuple(missed[:SHOWN]),
        missed=len(missed),
        agreed=sum(found.share >= _AGREED for found in missed),
        images=sum(len(part[0].ids) for part in parts),
    )


def _worst(outcomes: Outcomes) -> Worst:
    found = [item for part in outcomes.parts.values() for item in _surest(part, outcomes.classes)]
    ranked = sorted(found, key=lambda item: (-item[0], item[1].image))[:SHOWN]
    examples = tuple(mistake for _, mistake in ranked)
    return Worst(outcomes.result.task, outcomes.result.pair.backbone, examples)


def _surest(part: Part, classes: Sequence[str]) -> Iterator[tuple[float, Mistake]]:
    """The part's surest mistakes with the mean probability that all runs give the wrong class."""
    guesses = np.stack(part.guesses)
    confidences = np.where(part.hits, 0.0, np.stack(part.confidences))
    same = guesses[:, None, :] == guesses[None, :, :]
    mass = (same * confidences[None, :, :]).sum(axis=1)  # of each run's guess, over all runs
    chosen = mass.argmax(axis=0)
    images = np.arange(len(part.ids))
    top = mass[chosen, images]
    for image in np.argsort(-top, kind="stable")[:SHOWN].tolist():
        if top[image] > 0:
            guess = int(guesses[chosen[image], image])
            wrong = int(same[chosen[image], :, image].sum())
            mistake = Mistake(
                image=part.ids[image],
                label=classes[part.labels[image]],
                guess=classes[guess],
                confidence=float(top[image]) / wrong,
                wrong=wrong,
                runs=len(guesses),
            )
            yield float(top[image]) / len(guesses), mistake


def _parts(pairs: Sequence[Outcomes]) -> list[list[Part]]:
    """The pairs' parts, those of the same images together."""
    groups: dict[tuple[str, ...], list[Part]] = {}
    for outcomes in pairs:
        for ids, part in outcomes.parts.items():
            groups.setdefault(ids, []).append(part)
    return list(groups.values())


def _missed(groups: Sequence[Sequence[Part]], classes: Sequence[str]) -> Iterator[MissedByAll]:
    """Images that no run of any pair gets right."""
    for parts in groups:
        guesses = np.concatenate([np.stack(part.guesses) for part in parts])
        labels = parts[0].labels
        for image in np.flatnonzero((guesses != labels).all(axis=0)).tolist():
            counts = np.bincount(guesses[:, image])
            guess = int(counts.argmax())
            yield MissedByAll(
                image=parts[0].ids[image],
                label=classes[labels[image]],
                guess=classes[guess],
                share=float(counts[guess] / len(guesses)),
                backbones=len(parts),
            )
