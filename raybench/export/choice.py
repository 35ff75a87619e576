"""Which pair of a sweep is handed over, and which of its trials."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raybench.analysis.whole import Analysis
from raybench.errors import UserInputError
from raybench.records import PairRow, SweepSnapshot, TrialRow
from raybench.settings import Settings
from raybench.spec import Recipe
from raybench.tracking.summary import exported_trial

_SHOWN, _NEAREST = 12, 5
"""Ids that a refusal names: a sweep may have thousands."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is handed over, and where its files lie."""

    analysis: Analysis
    pair: PairRow
    trial: TrialRow
    home: Settings

    @property
    def snapshot(self) -> SweepSnapshot:
        return self.analysis.snapshot

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The whole recipe, tuned values merged in."""
        given = dict(self.snapshot.spec["recipe"])
        return Recipe().model_dump(mode="json") | given | dict(self.trial.params)

    @property
    def config(self) -> str:
        """Of the final: ``tuned``, or ``default`` where the file asks for nothing else."""
        return "tuned" if "tuned" in self.trial.configs else "default"

    @property
    def refit(self) -> bool:
        """Whether it was trained on the validation split too."""
        return bool(self.snapshot.spec["final"].get("refit"))

    @property
    def dataset(self) -> Mapping[str, Any]:
        """As the sweep file has it."""
        given = self.snapshot.spec.get("datasets", ())
        return next((d for d in given if d["name"] == self.pair.dataset), {})

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the trial's end."""
        assert self.trial.end is not None
        return self.trial.end.facts


def choose(analysis: Analysis, home: Settings, wanted: str | None = None) -> Chosen:
    """A pair, see ``choose_pair``, and its final, see ``final_to_export``.

    Raises:
        UserInputError: as these.
    """
    pair = choose_pair(analysis, wanted)
    return Chosen(analysis, pair, final_to_export(pair), home)


def choose_pair(analysis: Analysis, wanted: str | None = None) -> PairRow:
    """The pair named by its id or an unambiguous part of it, else the leader of the only task.

    Raises:
        UserInputError: no such pair, several, or several tasks and none named.
    """
    snapshot = analysis.snapshot
    pairs = [pair for pair in snapshot.pairs if pair.current]
    if wanted is not None:
        return _named(pairs, wanted)
    leaders = {task: ranked[0] for task, ranked in analysis.standings.items()}
    if len(leaders) != 1:
        lead = {s.result.pair.id: task for task, s in leaders.items() if s.leads}
        first = f"sweep '{snapshot.sweep}' has {len(leaders)} tasks; name the pair to export, by "
        raise UserInputError([first + "its id or a part of it:", *_offered(pairs, lead)])
    (leader,) = leaders.values()
    if not leader.leads:
        raise UserInputError(
            f"sweep '{snapshot.sweep}' has no final result yet, so nobody leads; run it to its "
            "end, or name a pair that is done"
        )
    return leader.result.pair


def _offered(pairs: Sequence[PairRow], lead: Mapping[str, str]) -> Iterable[str]:
    """All pairs, or of many the leaders of the first tasks."""
    ids = [pair.id for pair in pairs]
    shown = ids if len(ids) <= _SHOWN else list(lead)[:_SHOWN]
    yield from (f"  {id}" + (f"  (leads {lead[id]})" if id in lead else "") for id in shown)
    if len(shown) < len(ids):
        yield f"  and {len(ids) - len(shown):,} more; 'raybench status --json' has all ids"


def _named(pairs: Sequence[PairRow], wanted: str) -> PairRow:
    found = [p for p in pairs if p.id == wanted] or [
        p for p in pairs if wanted.lower() in p.id.lower()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        ids = _nearest(wanted, found)
        raise UserInputError(f"'{wanted}' fits {len(found):,} pairs: {ids}; give more of one's id")
    raise UserInputError(
        f"no pair '{wanted}' among {len(pairs):,}; the nearest: {_nearest(wanted, pairs)}"
    )


def _nearest(wanted: str, pairs: Sequence[PairRow]) -> str:
    """A few ids, and how many more there are."""
    ids = difflib.get_close_matches(wanted, [pair.id for pair in pairs], n=_NEAREST, cutoff=0)
    more = [f"and {len(pairs) - len(ids):,} more"] if len(pairs) > len(ids) else []
    return ", ".join([*ids, *more])


def final_to_export(pair: PairRow) -> TrialRow:
    """The trial whose weights stand for the pair, never the best of the seeds.

    Raises:
        UserInputError: it has none that could be handed over.
    """
    if pair.state != "done":
        raise UserInputError(
            f"pair {pair.id} is not done (it is {pair.state}), so no final has been chosen; run "
            "the sweep to its end first"
        )
    trial = exported_trial(pair)
    if trial is None or trial.end is None:
        raise UserInputError(f"pair {pair.id} has no final that kept its weights")
    if trial.end.facts.get("weights") == "neighbors":
        raise UserInputError(
            f"pair {pair.id} is k nearest neighbours: it has no trained model, it answers from its "
            "training images, which would have to travel along; export a pair of a sweep with "
            "recipe.method linear_probe, which learns from the same features, or finetune"
        )
    return trial
