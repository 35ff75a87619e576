"""The same trials given twice: a sweep and its bundle are one, and a copy ties with itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from raybench.analysis.numbers import listing
from raybench.analysis.results import task_name
from raybench.errors import UserInputError
from raybench.records import PairRow, SweepSnapshot

_SHOWN = 3

_Place = tuple[int, str]
"""Number of the sweep, id of the pair."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One pair of one sweep.

    Attributes:
        ended: what tells its trials from any other's. Two runs of one pair may find the same
            numbers, but never at the same microseconds.
    """

    sweep: int
    pair: PairRow
    ended: frozenset[Hashable]

    @property
    def place(self) -> _Place:
        return self.sweep, self.pair.id


def count_once(
    snapshots: Sequence[SweepSnapshot], given: Sequence[str], names: Sequence[str]
) -> tuple[list[SweepSnapshot], list[str]]:
    """The sweeps, each pair's trials in one of them only, and sentences on what was left out.

    Of two states of one pair the one with more ended trials stays, else the larger sweep's.

    Args:
        snapshots: the sweeps.
        given: what the user calls them: a sweep's name, a bundle's file.
        names: what the joined sweep calls them.

    Raises:
        UserInputError: a sweep has nothing that the others do not have.
    """
    copies = _copies(snapshots)
    mistakes = [
        _refusal(given[index], given[keepers[0]])
        for index, snapshot in enumerate(snapshots)
        if (keepers := _keepers(index, snapshot, copies))
    ]
    if mistakes:
        raise UserInputError(mistakes)
    kept = [
        replace(s, pairs=tuple(p for p in s.pairs if (index, p.id) not in copies))
        for index, s in enumerate(snapshots)
    ]
    return kept, list(_sentences(snapshots, copies, names))


def _refusal(copy: str, other: str) -> str:
    if copy == other:
        return f"'{copy}' is given twice, and would only be compared with itself; give it once"
    return (
        f"all trials of '{copy}' stand in '{other}' too, and would only be compared with "
        f"themselves; leave '{copy}' out"
    )


def _copies(snapshots: Sequence[SweepSnapshot]) -> dict[_Place, int]:
    """Of each pair that does not count: the sweep where it does."""
    by_id: dict[str, list[_Row]] = defaultdict(list)
    for index, snapshot in enumerate(snapshots):
        for pair in snapshot.pairs:
            by_id[pair.id].append(_Row(index, pair, _ended(pair)))
    groups = [rows for rows in by_id.values() if len(rows) > 1]
    related = {
        frozenset((one.sweep, other.sweep))
        for rows in groups
        for one, other in combinations(rows, 2)
        if one.ended & other.ended or _same_ledger(snapshots[one.sweep], snapshots[other.sweep])
    }
    sizes = [sum(len(_ended(pair)) for pair in snapshot.pairs) for snapshot in snapshots]
    copies: dict[_Place, int] = {}
    for rows in groups:
        fullest = sorted(rows, key=lambda r: (-len(r.ended), -sizes[r.sweep], r.sweep))
        for more, less in combinations(fullest, 2):
            if _is_copy(more, less, related):
                copies.setdefault(less.place, more.sweep)
    return copies


def _is_copy(one: _Row, other: _Row, related: Collection[frozenset[int]]) -> bool:
    """Of sweeps that share trials, pairs in which nothing has ended yet are copies as well."""
    if one.ended and other.ended:
        return bool(one.ended & other.ended)
    return frozenset((one.sweep, other.sweep)) in related


def _same_ledger(one: SweepSnapshot, other: SweepSnapshot) -> bool:
    return bool(one.ledger_id) and (one.ledger_id, one.sweep) == (other.ledger_id, other.sweep)


def _ended(pair: PairRow) -> frozenset[Hashable]:
    return frozenset(
        (t.phase, t.number, t.seed, t.fold, t.end.finished_at, *sorted(t.end.test.items()))
        for t in pair.trials
        if t.end is not None
    )


def _keepers(index: int, snapshot: SweepSnapshot, copies: Mapping[_Place, int]) -> list[int]:
    """The sweeps that have all of this one's pairs; none where it has pairs of its own."""
    found = [copies.get((index, pair.id)) for pair in snapshot.pairs]
    return [] if None in found else [keeper for keeper in found if keeper is not None]


def _sentences(
    snapshots: Sequence[SweepSnapshot], copies: Mapping[_Place, int], names: Sequence[str]
) -> Iterator[str]:
    between: dict[tuple[int, int], list[str]] = defaultdict(list)
    for index, snapshot in enumerate(snapshots):
        for pair in snapshot.pairs:
            keeper = copies.get((index, pair.id))
            if keeper is not None:
                between[keeper, index].append(f"{pair.backbone} on {task_name(pair)}")
    for (keeper, index), pairs in between.items():
        more = [f"{len(pairs) - _SHOWN:,} more"] if len(pairs) > _SHOWN else []
        yield (
            f"{names[keeper]} and {names[index]} hold the same trials of "
            f"{listing([*pairs[:_SHOWN], *more])}: they count once, as {names[keeper]}'s."
        )
