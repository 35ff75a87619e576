"""What a sweep file asks for now, beside what it asked for at the last run: as sentences.

Pure: from a plan and the ledger's snapshot. Nothing is said where nothing has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from raybench.datasets.listing import plural
from raybench.plan import Plan
from raybench.records import PairRow, SweepSnapshot
from raybench.spec import SweepSpec

MOST_NAMED = 20
_LISTED = ("backbones", "datasets", "subsets")
"""Seen as pairs."""
_WORDS = ("name", "description")
_OTHER_RESULT = ("recipe", "space", "search", "seed", "final.refit", "final.selection")


def differences(plan: Plan, before: SweepSnapshot) -> list[str]:
    """One sentence for each thing that differs, pairs first; empty for a sweep that is new."""
    if not before.pairs:
        return []
    return [*_pairs(plan, before), *_keys(plan, before)]


def _pairs(plan: Plan, before: SweepSnapshot) -> Iterator[str]:
    known = {pair.id: pair for pair in before.pairs}
    now = {pair.id for pair in plan.pairs}
    new = [pair.id for pair in plan.pairs if pair.id not in known]
    back = [pair.id for pair in plan.pairs if pair.id in known and not known[pair.id].current]
    gone = [pair.id for pair in before.pairs if pair.current and pair.id not in now]
    yield (
        f"resuming: {plural(len(now) - len(new), 'pair')} kept, {len(new)} new, "
        f"{len(gone)} no longer in the file"
    )
    yield from _named("new", new)
    yield from _named("back in the file, with what it had", back)
    yield from _named("kept, but no longer in the file", gone)


def _named(word: str, ids: list[str]) -> Iterator[str]:
    for pair_id in ids[:MOST_NAMED]:
        yield f"  {word}: {pair_id}"
    if len(ids) > MOST_NAMED:
        yield f"  {word}: {len(ids) - MOST_NAMED} more"


def _keys(plan: Plan, before: SweepSnapshot) -> Iterator[str]:
    """``  recipe.epochs 6 -> 8: ...``, in the order of the spec."""
    old = _with_defaults(dict(_flat(before.spec)))
    new = dict(_flat(json.loads(plan.spec.model_dump_json())))
    kept = [pair for pair in before.pairs if pair.id in {p.id for p in plan.pairs}]
    for key in dict.fromkeys([*new, *old]):
        if key.split(".")[0] in (*_LISTED, *_WORDS) or old.get(key) == new.get(key):
            continue
        meaning = _meaning(key, old.get(key), new.get(key), plan, kept)
        change = f"{_shown(key, old)} -> {_shown(key, new)}"
        yield f"  {key} {change}" + (f": {meaning}" if meaning else "")


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values; lists are values."""
    for name, below in value.items():
        if isinstance(below, Mapping):
            yield from _flat(below, f"{prefix}{name}.")
        else:
            yield prefix + name, below


def _with_defaults(old: dict[str, Any]) -> dict[str, Any]:
    """A key that the last run's version did not know had its default then."""
    defaults = dict(
        _flat(SweepSpec.model_construct(name="", backbones=(), datasets=()).model_dump(mode="json"))
    )
    inner = {key.rsplit(".", depth)[0] for key in old for depth in range(1, key.count(".") + 1)}
    return {key: value for key, value in defaults.items() if key not in inner} | old


def _shown(key: str, values: Mapping[str, Any]) -> str:
    return json.dumps(values[key]).strip('"') if key in values else "nothing"


def _meaning(key: str, old: Any, new: Any, plan: Plan, kept: list[PairRow]) -> str:
    """What follows from the change; empty where nothing does."""
    if key.startswith(_OTHER_RESULT):
        return "another result, so new pairs beside the old"
    if not kept:
        return ""
    if key == "budget.trials":
        return _quota(kept, plan.spec.budget.trials)
    if key in ("budget.device_hours", "budget.wall_clock"):
        return "what has run stays, and counts"
    if key in ("final.seeds", "final.configs"):
        return _finals(old, new)
    if key == "keep":
        return "for trials that end from now on"
    return ""


def _quota(kept: list[PairRow], trials: int) -> str:
    """Counted from each pair's own quota: one that comes back may have had another."""
    more = [trials - pair.quota for pair in kept if pair.quota < trials]
    if not more:
        return "what has run stays, and counts"
    span = f"{min(more)}" if min(more) == max(more) else f"{min(more)} to {max(more)}"
    each = "each of " if len(more) > 1 else ""
    return f"{span} more for {each}{plural(len(more), 'pair')}; what has run stays"


def _finals(old: Iterable[Any], new: Iterable[Any]) -> str:
    added = [str(value) for value in new if value not in list(old)]
    gone = [str(value) for value in old if value not in list(new)]
    parts = [f"added: {', '.join(added)}"] if added else []
    parts += [f"kept, but not counted: {', '.join(gone)}"] if gone else []
    return "; ".join(parts)
