"""What remains under a reader's limits: latency, size, licence. What cannot be judged is named."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raybench.analysis import numbers
from raybench.analysis.cost import Measured, measured
from raybench.analysis.intervals import ALPHA
from raybench.analysis.results import PairResult
from raybench.backbones.describe import NOT_STATED, describe_spec
from raybench.backbones.index import is_url, is_weights_file, load_index, split_name
from raybench.records import SweepSnapshot

if TYPE_CHECKING:
    from raybench.analysis.whole import Analysis

UNTRAINED = "none needed (untrained)"


@dataclass(frozen=True, slots=True)
class Constraints:
    """A reader's limits; None: none.

    Attributes:
        max_latency_ms: of one image, median, in the setting of the sweep's newest profiles.
        max_params_m: millions of parameters, the new head included.
        licence: of the weights; patterns as in ``fnmatch``, any case, several with commas between.
    """

    max_latency_ms: float | None = None
    max_params_m: float | None = None
    licence: str | None = None

    def __bool__(self) -> bool:
        return any(v is not None for v in (self.max_latency_ms, self.max_params_m, self.licence))

    @property
    def text(self) -> str:
        """``at most 20 ms, at most 10 M parameters``."""
        parts = []
        if self.max_latency_ms is not None:
            parts.append(f"at most {self.max_latency_ms:g} ms for one image")
        if self.max_params_m is not None:
            parts.append(f"at most {self.max_params_m:g} M parameters")
        if self.licence is not None:
            parts.append(f"licence {self.licence}")
        return ", ".join(parts)


NO_CONSTRAINTS = Constraints()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A backbone, and why it is not among the allowed."""

    backbone: str
    reason: str


@dataclass(frozen=True, slots=True)
class Remaining:
    """Backbones under the limits.

    Attributes:
        allowed: those that keep all of them, in the file's order.
        refused: break one at least.
        unknown: break none that is known, but one cannot be judged.
        best: task -> the best of the allowed, and those that cannot be told apart from it.
    """

    constraints: Constraints
    allowed: tuple[str, ...]
    refused: tuple[Refusal, ...]
    unknown: tuple[Refusal, ...]
    best: Mapping[str, tuple[str, ...]]

    @property
    def sentences(self) -> tuple[str, ...]:
        """How many remain, who does not and why, and the best per task."""
        if not self.constraints:
            return ()
        others = [refusal.backbone for refusal in (*self.refused, *self.unknown)]
        names = numbers.short_names((*self.allowed, *others))
        kept = f": {numbers.listing(names[b] for b in self.allowed)}" if self.allowed else ""
        count = f"{len(self.allowed)} of {numbers.plural(len(names), 'backbone')}"
        return (
            f"Under the limits ({self.constraints.text}) {count} remain{kept}.",
            *_reasons("Left out", self.refused, names),
            *_reasons("Left out, since it cannot be judged", self.unknown, names),
            *(_best_words(task, best, names) for task, best in self.best.items()),
        )


def remaining(analysis: Analysis, constraints: Constraints) -> Remaining:
    """Which backbones of the file keep the limits, and who is best among them."""
    costs, licence = measured(analysis.snapshot), licences(analysis.snapshot)
    by_backbone: dict[str, list[PairResult]] = {}
    for result in analysis.results:
        by_backbone.setdefault(result.pair.backbone, []).append(result)
    verdicts = {
        backbone: list(_verdicts(results, costs, licence[backbone], constraints))
        for backbone, results in by_backbone.items()
    }
    broken = {b: found for b, found in verdicts.items() if any(sure for sure, _ in found)}
    open_ = {b: found for b, found in verdicts.items() if found and b not in broken}
    allowed = tuple(backbone for backbone, found in verdicts.items() if not found)
    best = _best(analysis, set(allowed))
    refused, unknown = (
        tuple(Refusal(b, "; ".join(why for _, why in found)) for b, found in group.items())
        for group in (broken, open_)
    )
    return Remaining(constraints, allowed, refused, unknown, best)


def licences(snapshot: SweepSnapshot) -> dict[str, str]:
    """Backbone -> licence of its weights, as the library that publishes them states it."""
    return {p.backbone: _licence(p.backbone_spec) for p in snapshot.pairs if p.current}


def _licence(spec: Mapping[str, Any]) -> str:
    """A user's own file, a hub's repository and a Python function state none here."""
    from raybench.spec import BackboneSpec

    library, model, _ = split_name(spec.get("name", ""))
    weights = spec.get("weights", "pretrained")
    if weights == "none":
        return UNTRAINED
    if model not in load_index().get(library, {}) or is_url(weights) or is_weights_file(weights):
        return NOT_STATED
    stated = describe_spec(BackboneSpec(**spec)).weights[0].licence
    return NOT_STATED if stated == "unknown" else stated


_Verdict = tuple[bool, str]
"""Whether a limit is broken; False: it cannot be judged. And why."""


def _verdicts(
    results: Iterable[PairResult], costs: Measured, licence: str, limits: Constraints
) -> Iterator[_Verdict]:
    results = list(results)
    sizes = [r.parameters / 1e6 for r in results if r.parameters is not None]
    profiles = [costs.by_pair[r.pair.id] for r in results if r.pair.id in costs.by_pair]
    times = [profile.single.median_ms for profile in profiles if profile.single is not None]
    yield from _above(limits.max_latency_ms, times, "ms", "its latency was not measured")
    yield from _above(limits.max_params_m, sizes, "M parameters", "its parameters are not known")
    if limits.licence is None or licence == UNTRAINED:
        return
    if licence == NOT_STATED:
        yield False, "the licence of its weights is not stated"
    elif not _matches(licence, limits.licence):
        yield True, f"licence {licence}"


def _above(limit: float | None, found: list[float], unit: str, missing: str) -> Iterator[_Verdict]:
    if limit is None:
        return
    if not found:
        yield False, missing
    elif max(found) > limit:
        yield True, f"{numbers.short(max(found))} {unit}"


def _matches(licence: str, patterns: str) -> bool:
    wanted = (pattern.strip().lower() for pattern in patterns.split(","))
    return any(fnmatch.fnmatchcase(licence.lower(), pattern) for pattern in wanted)


def _best(analysis: Analysis, allowed: set[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, task in analysis.tasks.items():
        kept = [s for s in task.standings if s.rank and s.result.pair.backbone in allowed]
        if kept:
            rows = [task.comparison.index(s.result.pair.id) for s in kept]
            told = task.comparison.adjusted[rows[0], rows] < ALPHA
            ties = [s for s, apart in zip(kept, told.tolist(), strict=True) if not apart]
            found[name] = tuple(standing.result.pair.backbone for standing in ties)
    return found


def _reasons(what: str, refusals: Iterable[Refusal], names: Mapping[str, str]) -> Iterator[str]:
    shown = [f"{names[refusal.backbone]} ({refusal.reason})" for refusal in refusals]
    if shown:
        yield f"{what}: {', '.join(shown)}."


def _best_words(task: str, best: tuple[str, ...], names: Mapping[str, str]) -> str:
    leader, *others = (names[backbone] for backbone in best)
    if not others:
        return f"On {task} {leader} is the best of them."
    apart = "cannot be told apart from it"
    return f"On {task} {leader} has the best mean of them; {numbers.listing(others)} {apart}."
