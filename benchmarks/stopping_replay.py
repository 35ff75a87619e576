"""Recorded learning curves, replayed under an early-stopping rule in any order of arrival.

The rule is a pure function of the curves that a pair has reported so far, and a trial's curve does
not depend on it. So one sweep that stopped nothing tells what any rule would have saved and cost,
exactly where the sampler does not look at results (``random``, ``grid``, the ladder).
"""

from __future__ import annotations

import heapq
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from raybench.plan import make_plan
from raybench.records import PairRow, SweepSnapshot, TrialRow, is_minimised
from raybench.spec import SweepSpec
from raybench.sweep.scheduler import CONSTANTS, Constants, stops_early

JITTER = 0.2  # an epoch takes 0.8 to 1.2 of the mean, so that no two orders are alike


@dataclass(frozen=True, slots=True)
class Rule:
    """An early-stopping rule with its constants."""

    name: Literal["asha", "median"] = "asha"
    constants: Constants = CONSTANTS

    @property
    def title(self) -> str:
        c = self.constants
        shipped = " (shipped)" if self == Rule() else ""
        factor = f" factor {c.factor}," if self.name == "asha" else ""
        return f"{self.name}:{factor} grace 1/{c.grace}, {c.peers} peers{shipped}"


@dataclass(frozen=True, slots=True)
class Pool:
    """A pair's complete search trials.

    Attributes:
        curves: trial number -> metric per epoch, larger is better.
        nll: trial number -> ``val/nll`` at its best epoch, which breaks ties.
        ladder: trials below this number are never stopped.
        quota: trials that the pair is given.
    """

    pair: str
    curves: Mapping[int, tuple[float, ...]]
    nll: Mapping[int, float]
    ladder: int
    quota: int
    epochs: int

    def winner(self, numbers: list[int]) -> int:
        """As ``selection.select_winner``: best epoch, then lower nll, then lower number."""
        return min(numbers, key=lambda n: (-max(self.curves[n]), self.nll[n], n))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One replay. Losses are differences of the metric between the winners without and with it."""

    saved: float
    """Part of the search's epochs that were not trained."""
    lost_winner: bool
    loss_best: float
    loss_last: float


def pools(snapshot: SweepSnapshot, quota: int | None = None) -> list[Pool]:
    """The sweep's pairs; of a smaller ``quota``, every order draws other trials.

    Raises:
        ValueError: the sweep stopped trials itself, so its curves are not whole.
    """
    spec = SweepSpec.model_validate_json(json.dumps(dict(snapshot.spec)))
    if spec.search.early_stop != "none":
        raise ValueError(f"{snapshot.sweep} ran with early_stop {spec.search.early_stop}")
    ladder = len(make_plan(spec).pairs[0].ladder)
    return [
        _pool(spec, pair, ladder, quota or pair.quota) for pair in snapshot.pairs if pair.current
    ]


def _pool(spec: SweepSpec, pair: PairRow, ladder: int, quota: int) -> Pool:
    rows = [row for row in pair.search_trials() if row.state == "complete"]
    return Pool(
        pair=f"{pair.dataset}: {pair.backbone.rpartition(':')[2]}",
        curves={row.number: _curve(row, spec.search.metric) for row in rows},
        nll={row.number: _nll(row) for row in rows},
        ladder=ladder,
        quota=quota,
        epochs=spec.recipe.epochs,
    )


def _curve(row: TrialRow, metric: str) -> tuple[float, ...]:
    sign = -1.0 if is_minimised(metric) else 1.0
    return tuple(sign * record.metrics[metric] for record in row.epochs)


def _nll(row: TrialRow) -> float:
    return math.inf if row.end is None else row.end.best.get("val/nll", math.inf)


def replay(pool: Pool, rule: Rule, slots: int, seed: int) -> Outcome:
    """One arrival order of the trials after the ladder, ``slots`` trials of the pair at once."""
    rng = random.Random(f"{pool.pair} {seed}")
    late = [n for n in pool.curves if n >= pool.ladder]
    rng.shuffle(late)
    order = ([n for n in sorted(pool.curves) if n < pool.ladder] + late)[: pool.quota]
    seen: dict[int, list[float]] = {}
    stopped = _run(pool, order, slots, rng, seen, rule)
    whole = pool.winner(order)
    found = pool.winner([n for n in order if n not in stopped])
    return Outcome(
        saved=1 - sum(map(len, seen.values())) / sum(len(pool.curves[n]) for n in order),
        lost_winner=whole in stopped,
        loss_best=max(pool.curves[whole]) - max(pool.curves[found]),
        loss_last=pool.curves[whole][-1] - pool.curves[found][-1],
    )


def _run(
    pool: Pool,
    order: list[int],
    slots: int,
    rng: random.Random,
    seen: dict[int, list[float]],
    rule: Rule,
) -> set[int]:
    """Epoch by epoch on ``slots`` slots, filling ``seen``; returns the trials that were stopped."""
    waiting, stopped = list(reversed(order)), set()
    running: list[tuple[float, int]] = []

    def start(now: float) -> None:
        if waiting:
            heapq.heappush(running, (now + _epoch_time(rng), waiting.pop()))

    for _ in range(slots):
        start(0.0)
    while running:
        now, number = heapq.heappop(running)
        curve = seen.setdefault(number, [])
        curve.append(pool.curves[number][len(curve)])
        if len(curve) == len(pool.curves[number]):
            start(now)
        elif number >= pool.ladder and stops_early(
            rule.name, seen, number, pool.epochs, rule.constants
        ):
            stopped.add(number)
            start(now)
        else:
            heapq.heappush(running, (now + _epoch_time(rng), number))
    return stopped


def _epoch_time(rng: random.Random) -> float:
    return rng.uniform(1 - JITTER, 1 + JITTER)


def replays(pool: Pool, rule: Rule, slots: int, orders: int) -> list[Outcome]:
    """Of as many arrival orders."""
    return [replay(pool, rule, slots, seed) for seed in range(orders)]


def mean(outcomes: list[Outcome], value: Callable[[Outcome], float]) -> float:
    return sum(map(value, outcomes)) / len(outcomes)
