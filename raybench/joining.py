"""Several sweeps as one: their pairs side by side, told apart, and what makes them incomparable.

A joined sweep is a snapshot like any other, so that everything that shows a sweep shows it too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Any

from raybench.analysis.numbers import clean, listing
from raybench.analysis.results import task_name
from raybench.copies import count_once
from raybench.errors import UserInputError
from raybench.predictions import NO_PREDICTIONS, Predictions, PredictionSource
from raybench.records import PairRow, SweepSnapshot, TrialRow

_COMPARED = ("recipe", "space", "search", "budget", "final")
"""Sections of the sweep file that decide what a number means."""


@dataclass(frozen=True)
class Source:
    """One sweep with what stands beside its ledger.

    Attributes:
        predictions: of its finals.
        given: what the user calls it: its name, a bundle's file; empty: its name.
        splits: gives name -> one JSON list per image: id, SHA-256, class, part
            (``datasets.manifest.Manifest.text``); large, so only when asked for.
    """

    snapshot: SweepSnapshot
    predictions: PredictionSource = NO_PREDICTIONS
    splits: Callable[[], Mapping[str, str]] = dict
    given: str = ""


@dataclass(frozen=True)
class Joined:
    """What is reported on.

    Attributes:
        names: of the sweeps, each once.
        ids: of each sweep: what a pair's id is here.
        notes: what was given twice, and what cannot be compared, in words.
    """

    snapshot: SweepSnapshot
    predictions: PredictionSource
    names: tuple[str, ...]
    ids: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...] = ()


def join(sources: Sequence[Source]) -> Joined:
    """One sweep as it is; several side by side, what several of them hold once.

    Raises:
        UserInputError: they are measured by different metrics, or one is given twice.
    """
    if len(sources) == 1:
        (only,) = sources
        same = {pair.id: pair.id for pair in only.snapshot.pairs}
        return Joined(only.snapshot, only.predictions, (only.snapshot.sweep,), (same,))
    _check_metrics(sources)
    names = unique_names(source.snapshot.sweep for source in sources)
    given = [source.given or source.snapshot.sweep for source in sources]
    once, copied = count_once([source.snapshot for source in sources], given, names)
    sources = [replace(s, snapshot=snapshot) for s, snapshot in zip(sources, once, strict=True)]
    ids = Counter(pair.id for source in sources for pair in source.snapshot.pairs)
    twice = {pair_id for pair_id, times in ids.items() if times > 1}
    renamed = [
        _Renamed(source, name, _labels(index, name, sources), twice)
        for index, (source, name) in enumerate(zip(sources, names, strict=True))
    ]
    return Joined(
        snapshot=_side_by_side([one.snapshot for one in renamed], names),
        predictions=_JoinedPredictions(renamed),
        names=tuple(names),
        ids=tuple({p.id: one.new_id(p.id) for p in one.source.snapshot.pairs} for one in renamed),
        notes=(*copied, *_notes(renamed)),
    )


def unique_names(names: Iterable[str]) -> list[str]:
    """``a, a-2, b``: two bundles may hold sweeps of one name."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}-{number}" for number in count(2))
        found.append(next(n for n in chain([name], numbered) if n not in found))
    return found


def _check_metrics(sources: Sequence[Source]) -> None:
    by_metric: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        by_metric[source.snapshot.metric].append(f"'{source.snapshot.sweep}'")
    if len(by_metric) > 1:
        found = "; ".join(f"{listing(names)} by {metric}" for metric, names in by_metric.items())
        raise UserInputError(
            f"sweeps that are joined must be measured by one metric, these are not: {found}; "
            "report them one by one"
        )


def _labels(index: int, name: str, sources: Sequence[Source]) -> dict[str, str]:
    """What backbones are called: with the sweep's name where another sweep has one of its tasks.

    On all of its tasks then, so that rankings across tasks are of one and the same thing.
    """
    own = sources[index].snapshot.pairs
    others = {
        (pair.backbone, task_name(pair))
        for source in (*sources[:index], *sources[index + 1 :])
        for pair in source.snapshot.pairs
    }
    met = {pair.backbone for pair in own if (pair.backbone, task_name(pair)) in others}
    return {backbone: f"{backbone} ({name})" for backbone in met}


class _Renamed:
    """One sweep under the names that the joined one has for its pairs and backbones."""

    def __init__(
        self, source: Source, name: str, labels: Mapping[str, str], twice: Collection[str]
    ) -> None:
        self.source, self.name, self._twice = source, name, twice
        self._old = {self.new_id(pair.id): pair.id for pair in source.snapshot.pairs}
        pairs = tuple(self._pair(pair, labels) for pair in source.snapshot.pairs)
        self.snapshot = replace(source.snapshot, pairs=pairs)

    def new_id(self, pair_id: str) -> str:
        return f"{pair_id}@{self.name}" if pair_id in self._twice else pair_id

    def read(self, trial: TrialRow) -> Predictions | None:
        """As its own sweep calls it."""
        return self.source.predictions.read(replace(trial, pair_id=self._old[trial.pair_id]))

    def __contains__(self, trial: TrialRow) -> bool:
        return trial.pair_id in self._old

    def _pair(self, pair: PairRow, labels: Mapping[str, str]) -> PairRow:
        pair_id = self.new_id(pair.id)
        return replace(
            pair,
            id=pair_id,
            backbone=labels.get(pair.backbone, pair.backbone),
            trials=tuple(replace(trial, pair_id=pair_id) for trial in pair.trials),
        )


class _JoinedPredictions:
    """Each trial's from the sweep that it comes from."""

    def __init__(self, parts: Sequence[_Renamed]) -> None:
        self._parts = parts

    def read(self, trial: TrialRow) -> Predictions | None:
        return next(part for part in self._parts if trial in part).read(trial)


def _side_by_side(snapshots: Sequence[SweepSnapshot], names: Sequence[str]) -> SweepSnapshot:
    first = snapshots[0]
    described = [(n, clean(s.description)) for n, s in zip(names, snapshots, strict=True)]
    return SweepSnapshot(
        sweep=" + ".join(names),
        description=" ".join(f"{name}: {text}." for name, text in described if text),
        attempt=max(snapshot.attempt for snapshot in snapshots),
        metric=first.metric,
        spec=_joined_spec([snapshot.spec for snapshot in snapshots]),
        pairs=tuple(pair for snapshot in snapshots for pair in snapshot.pairs),
        profiles=tuple(_each_once(p for snapshot in snapshots for p in snapshot.profiles)),
    )


def _joined_spec(specs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first one's, with everybody's data sets, backbones and subsets, and the widest ranges."""
    joined = dict(specs[0])
    for key in ("backbones", "datasets", "subsets"):
        joined[key] = _each_once(item for spec in specs for item in spec.get(key, ()))
    space: dict[str, Any] = {}
    for spec in specs:
        for name, range_ in spec.get("space", {}).items():
            known = space.get(name, range_)
            low, high = min(known["low"], range_["low"]), max(known["high"], range_["high"])
            space[name] = {**known, "low": low, "high": high}
    return joined | {"space": space}


def _each_once(items: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def _notes(parts: Sequence[_Renamed]) -> Iterator[str]:
    """Where sweeps share a task: what else than the backbone differs between their numbers."""
    shared = _shared_tasks(parts)
    if not shared:
        return
    yield from _split_notes(shared)
    meeting = _each_once(part for found in shared.values() for part in found)
    for path, values in _differences(meeting).items():
        said = "; ".join(f"{name}: {value}" for name, value in values.items())
        yield f"{path} differs, so the sweeps' numbers are not like for like ({said})."


def _shared_tasks(parts: Sequence[_Renamed]) -> dict[str, list[_Renamed]]:
    tasks: dict[str, list[_Renamed]] = defaultdict(list)
    for part in parts:
        for task in dict.fromkeys(task_name(p) for p in part.snapshot.pairs if p.current):
            tasks[task].append(part)
    return {task: found for task, found in tasks.items() if len(found) > 1}


def _split_notes(shared: Mapping[str, Sequence[_Renamed]]) -> Iterator[str]:
    for task, parts in shared.items():
        for key, what in (("split_digest", "splits"), ("manifest_digest", "images")):
            found = {part.name: _fact(part.snapshot, task, key) for part in parts}
            if len(set(found.values()) - {""}) > 1:
                yield (
                    f"{task}: {listing(found)} do not have the same {what}, so their numbers on "
                    "it cannot be compared."
                )
                break


def _fact(snapshot: SweepSnapshot, task: str, key: str) -> str:
    pairs = (p for p in snapshot.pairs if p.current and task_name(p) == task)
    return next((str(p.facts[key]) for p in pairs if p.facts.get(key)), "")


def _differences(parts: Sequence[_Renamed]) -> dict[str, dict[str, str]]:
    """Path of a setting -> its value in each sweep, where they are not all the same."""
    flat = {part.name: dict(_settings(part.snapshot.spec)) for part in parts}
    paths = dict.fromkeys(path for settings in flat.values() for path in settings)
    values = {path: {n: s.get(path, "none") for n, s in flat.items()} for path in paths}
    return {path: found for path, found in values.items() if len(set(found.values())) > 1}


def _settings(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for section in _COMPARED:
        for key, value in spec.get(section, {}).items():
            yield f"{section}.{key}", _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(below)}" for key, below in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
