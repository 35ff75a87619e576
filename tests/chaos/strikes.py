"""The kinds of kills, drawn from a named seed.

``driver``, ``trial`` and ``node`` are killed from outside at a random moment; the others are
failpoints, by which a process dies inside a write or a commit.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from raybench.seeding import derive_seed

CHECKPOINT = tuple(
    f"checkpoint.{moment}"
    for moment in (
        "half-written",
        "before-fsync",
        "after-fsync",
        "before-rename",
        "after-rename",
        "unlink",
    )
)
LEDGER = ("ledger.before-commit", "ledger.after-commit")
TRACKING = ("tracking.before-commit", "tracking.after-commit")
CACHE = ("cache.half-written", "cache.before-rename", "cache.after-rename", "cache.after-fsync")
_MOST_HITS = {"rename": 3, "fsync": 10, "written": 5, "unlink": 6, "commit": 25}
_STARTING_S = 6.0
"""A driver is at work on trials after that time; some die earlier, while they start."""


@dataclass(frozen=True)
class Strike:
    """One kill to come.

    Attributes:
        target: ``driver``, ``trial``, ``node`` or a failpoint. hit: a failpoint's n-th time.
        epochs, delay_s: from outside, when so many more epochs are committed, and a little later.
    """

    target: str
    epochs: int = 0
    delay_s: float = 0.0
    hit: int = 1

    @property
    def is_failpoint(self) -> bool:
        return "." in self.target

    @property
    def kind(self) -> str:
        """What the summary counts it as."""
        return self.target.partition(".")[0] if self.is_failpoint else f"{self.target} process"


def draw(
    kinds: Sequence[Sequence[str]], kills: int, seed: int, first: Sequence[str] = ()
) -> list[Strike]:
    """``kills`` strikes: every kind in turn, in random order, each at a random place and moment.

    Args:
        kinds: of each, the targets to choose from.
        kills: how many. seed: the program's.
        first: targets of the first strike, which falls on a new home.
    """
    rng = random.Random(derive_seed(seed, "chaos", "strikes"))
    drawn = [Strike(rng.choice(first))] if first else []
    while len(drawn) < kills:
        drawn += [_draw_one(rng, rng.choice(targets)) for targets in rng.sample(kinds, len(kinds))]
    return drawn[:kills]


def _draw_one(rng: random.Random, target: str) -> Strike:
    if "." in target:
        most = next(n for part, n in _MOST_HITS.items() if part in target)
        return Strike(target, hit=rng.randint(1, most))
    if target == "driver" and rng.random() < 0.25:
        return Strike(target, delay_s=rng.uniform(0.0, _STARTING_S))
    return Strike(target, epochs=rng.randint(1, 5), delay_s=rng.uniform(0.0, 0.6))
