"""The chaos program: forms, rounds, summary.

A round is one sweep in a new home, from its first start to its end. Where it ends before all kills
have fallen, another round takes the rest.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from raybench.records import SweepSnapshot
from raybench.seeding import derive_seed
from tests.chaos.aftermath import Aftermath
from tests.chaos.drivers import Stage, rerun
from tests.chaos.forms import Form, open_form
from tests.chaos.invariants import check_invariants, snapshot_of
from tests.chaos.strikes import Strike, draw
from tests.chaos.sweeps import fixed_sweep, tuned_sweep
from tests.chaos.torture import Tally, torture

FORMS = ("inline", "ray", "cluster")


@dataclass
class Result:
    """Of one form, over all its rounds."""

    form: str
    tally: Tally = field(default_factory=Tally)
    rounds: int = 0
    wall_s: float = 0.0

    def add(self, tally: Tally, violations: Sequence[str]) -> None:
        self.rounds += 1
        self.tally.kills += tally.kills
        self.tally.resumes += tally.resumes
        self.tally.beside_old_trials += tally.beside_old_trials
        self.tally.violations += [*tally.violations, *violations]


def run_unbroken(folder: Path, spec: dict[str, Any]) -> SweepSnapshot:
    """The sweep inline, undisturbed.

    Raises:
        RuntimeError: it does not end with 0.
    """
    folder.mkdir(parents=True)
    with Stage(folder, spec, ("--inline", "--no-tracking")) as stage:
        driver = stage.start()
        if driver.wait() != 0:
            raise RuntimeError(f"the unbroken run failed:\n{driver.output()}")
        return snapshot_of(stage.home, stage.sweep)


def run_form(
    name: str,
    folder: Path,
    spec: dict[str, Any],
    strikes: Sequence[Strike] | int,
    seed: int,
    unbroken: SweepSnapshot | None,
) -> Result:
    """All kills of one form; a number of strikes is drawn from the form's kinds."""
    result, started = Result(name), time.monotonic()
    rng = random.Random(derive_seed(seed, "chaos", "victims", name))
    with open_form(name, folder) as form:
        if isinstance(strikes, int):
            strikes = draw(form.kinds, strikes, seed, form.first)
        left = deque(strikes)
        while left or not result.rounds:
            place = folder / f"round-{result.rounds + 1}"
            place.mkdir(parents=True)
            with Stage(place, spec, form.options, form.armed) as stage:
                tally = torture(stage, form, left, rng)
                result.add(tally, check(stage, form, unbroken))
            if result.tally.violations:
                break
    result.wall_s = time.monotonic() - started
    return result


def check(stage: Stage, form: Form, unbroken: SweepSnapshot | None) -> list[str]:
    """All invariants of a stage whose sweep has ended."""
    aftermath = Aftermath(stage.sessions, partial(rerun, stage), slowness, form.resources)
    return check_invariants(stage.home, stage.sweep, unbroken, aftermath)


def slowness() -> float:
    """How many processes of the last minute wanted each core; 1 on a machine that is not busy."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 where every invariant holds, else 1 with the violations."""
    arguments = _parser().parse_args(argv)
    folder = Path(arguments.home or tempfile.mkdtemp(prefix="raybench-chaos-")).resolve()
    spec = tuned_sweep() if arguments.tuned else fixed_sweep()
    names = [name for name in FORMS if getattr(arguments, name)] or list(FORMS)
    started = time.monotonic()
    unbroken = run_unbroken(folder / "unbroken", spec)
    unbroken_s = time.monotonic() - started
    results = []
    for name, kills in zip(names, _shares(arguments.kills, len(names)), strict=True):
        comparable = None if arguments.tuned and name != "inline" else unbroken
        seed = derive_seed(arguments.seed, name)
        results.append(run_form(name, folder / name, spec, kills, seed, comparable))
        _say(_line(results[-1]))
    violations = [line for result in results for line in result.tally.violations]
    _say(_summary(results, arguments.seed, unbroken_s, time.monotonic() - started))
    for line in violations:
        _say(f"VIOLATED  {line}")
    if not violations and arguments.home is None:
        shutil.rmtree(folder)
    return 1 if violations else 0


def _shares(kills: int, parts: int) -> list[int]:
    return [kills // parts + (part < kills % parts) for part in range(parts)]


def _line(result: Result) -> str:
    tally = result.tally
    kinds = ", ".join(f"{count} {target}" for target, count in sorted(tally.kills.items()))
    old = f" ({tally.beside_old_trials} beside old trials)" if tally.beside_old_trials else ""
    return (
        f"{result.form}: {tally.kills.total()} kills, {tally.resumes} resumes at once{old}, "
        f"{result.rounds} sweeps, {result.wall_s:.0f} s: {kinds}"
    )


def _summary(results: Sequence[Result], seed: int, unbroken_s: float, wall_s: float) -> str:
    kills = sum((result.tally.kills for result in results), Counter[str]())
    broken = sum(len(result.tally.violations) for result in results)
    verdict = "all invariants held" if not broken else f"{broken} violations"
    resumes = sum(result.tally.resumes for result in results)
    rounds = sum(result.rounds for result in results)
    return (
        f"chaos, seed {seed}: {kills.total()} kills, {resumes} resumes at once, {rounds} sweeps "
        f"to their end in {wall_s:.0f} s (one unbroken: {unbroken_s:.0f} s): {verdict}"
    )


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a program


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    for name in FORMS:
        parser.add_argument(f"--{name}", action="store_true", help="default: all three forms")
    parser.add_argument("--tuned", action="store_true", help="TPE and ASHA instead of fixed trials")
    parser.add_argument("--home", metavar="DIR", help="work there and keep it; it must be new")
    return parser
