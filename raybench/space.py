"""Hyperparameter ranges and the ladder: the first trials, the same for every pair."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, model_validator

Params = dict[str, float]

WHOLE = frozenset({"batch_size", "epochs", "neighbors"})
"""Hyperparameters that are whole numbers."""


class Range(BaseModel):
    """One tuned hyperparameter: its default beside its range.

    Raises:
        ValueError: bounds upside down, default outside, a log range that touches zero.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    default: float
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if not self.low <= self.default <= self.high:
            raise ValueError(
                f"default {self.default:g} must lie between low {self.low:g} and high {self.high:g}"
            )
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log is true, got {self.low:g}")
        return self

    def midpoints(self, count: int) -> tuple[float, ...]:
        """Midpoints of ``count`` equal cells of the range (of its logarithm where ``log``)."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        points = [low + (high - low) * (index + 0.5) / count for index in range(count)]
        return tuple(float(f"{math.exp(p) if self.log else p:.6g}") for p in points)


Space = Mapping[str, Range]
Ladder = Mapping[str, tuple[float, ...]] | int


def default_params(space: Space) -> Params:
    """Trial 0's hyperparameters."""
    return {name: range_.default for name, range_ in sorted(space.items())}


def ladder_params(space: Space, ladder: Ladder) -> tuple[Params, ...]:
    """The first trials of every pair, trial 0 the default.

    A mapping of lists is walked in step (all lists have one length); the default comes first when
    it is not among them, and is moved to the front when it is. A count ``n`` gives the default and
    the midpoints of ``n - 1`` equal cells of the first parameter, others at their default; whole
    numbers are rounded, and fewer where two fall together.
    """
    default = default_params(space)
    if isinstance(ladder, int):
        if ladder <= 1 or not space:
            return (default,)
        name = "lr" if "lr" in space else sorted(space)[0]
        points = space[name].midpoints(ladder - 1)
        if name in WHOLE:
            rounded = dict.fromkeys(float(round(v)) for v in points)
            points = tuple(v for v in rounded if v != default[name])
        return (default, *({**default, name: v} for v in points))
    length = max((len(values) for values in ladder.values()), default=0)
    steps = [
        {**default, **{name: float(values[index]) for name, values in ladder.items()}}
        for index in range(length)
    ]
    return (default, *(step for step in steps if step != default))
