"""Claim: a sweep's 2,000th trial costs the driver what its first did, in time and in memory.

Trials train nothing, so all that is left is the driver's work: searcher, ledger and Tune. Each
trial has a real trial's config and 14 metrics per epoch. Time per trial, quarter by quarter, may
grow to 1.3 times the first; the driver's own memory (``RssAnon`` of ``/proc``: what it has
allocated, without files and Ray's shared store) by 100 kB a trial, counted from the 250th.

    python benchmarks/driver.py [--trials 2000] [--pairs 200] [--slots 2]
    python benchmarks/driver.py --inline --pairs 10     # without Ray; long histories for TPE

A quarter's time is read from the times at which its trials ended; Ray's start stands before the
first of them.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import quick_sweep
from trial_overhead import sweep_data, versions

from raybench.records import SweepSnapshot
from raybench.sweep.assignment import Capacity
from raybench.sweep.packing import Shape

SETTLED = 250
"""Trials until imports, pools and caches have their size."""


@dataclass(frozen=True)
class Sample:
    """The driver's state when ``done`` trials had ended."""

    done: int
    cpu_s: float
    memory_kb: float


class DriverWatch:
    """Takes a sample whenever more trials have ended."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def look(self, done: int) -> None:
        """``done`` trials have ended by now."""
        if done > (self._samples[-1].done if self._samples else 0):
            self._samples.append(Sample(done, time.process_time(), allocated_kb()))

    def processor_line(self) -> str:
        """Processor time of this process, quarter by quarter: it hardly feels the neighbours."""
        last = self._samples[-1].done
        cuts = [self._samples[0], *(self._after(part * last / 4) for part in range(1, 5))]
        parts = [
            1000 * (end.cpu_s - start.cpu_s) / max(1, end.done - start.done)
            for start, end in pairwise(cuts)
        ]
        listed = ", ".join(f"{part:.1f}" for part in parts)
        return f"driver's processor time: {listed} ms a trial, ratio {parts[-1] / parts[0]:.2f}"

    def memory_line(self) -> str:
        """What has grown, in kB per trial."""
        first, last = self._after(SETTLED), self._samples[-1]
        if last.done == first.done:
            return f"memory: too few trials, it is counted from the {SETTLED}th"
        each = (last.memory_kb - first.memory_kb) / (last.done - first.done)
        return (
            f"memory: {first.memory_kb / 1000:.0f} MB at {first.done} trials, "
            f"{last.memory_kb / 1000:.0f} MB at {last.done}: {each:.1f} kB a trial "
            "(claim: at most 100)"
        )

    def _after(self, done: float) -> Sample:
        """The first sample of at least ``done`` trials, or the last of all."""
        return next((s for s in self._samples if s.done >= done), self._samples[-1])


def allocated_kb() -> float:
    """Resident memory of this process that no file stands behind, decimal kB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise SystemExit("this benchmark reads RssAnon from /proc/self/status: Linux only")
    return int(found[1]) * 1.024


def quarters(finished_at: Sequence[float]) -> list[float]:
    """Seconds per trial in each quarter of a run, from the times at which its trials ended."""
    times = sorted(finished_at)
    cuts = [round(part * (len(times) - 1) / 4) for part in range(5)]
    return [(times[end] - times[start]) / (end - start) for start, end in pairwise(cuts)]


def report(snapshot: SweepSnapshot, driver: DriverWatch) -> None:
    """Prints the lines for docs/performance.md."""
    rows = [row for pair in snapshot.pairs for row in pair.trials]
    ends = [row.end for row in rows if row.end is not None]
    if len(ends) < len(rows) or any(end.state != "complete" for end in ends):
        raise SystemExit("a trial did not complete: the times say nothing")
    actors = {end.facts["pid"] for end in ends}
    parts = quarters([end.finished_at for end in ends])
    say("by quarters: " + ", ".join(f"{1000 * part:.1f}" for part in parts) + " ms a trial")
    say(f"last quarter to first: {parts[-1] / parts[0]:.2f} (claim: at most 1.3)")
    say(f"processes that ran trials: {len(actors)}")
    say(driver.processor_line())
    say(driver.memory_line())


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(trials: int, pairs: int, slots: int, inline: bool) -> None:
    """One sweep whose pairs share ``trials``, one of each pair's being its final."""
    data: dict[str, Any] = sweep_data(pairs, trials // pairs - 1)
    driver = DriverWatch()
    capacity = Capacity(float(slots), 0.0)
    started = time.perf_counter()
    with quick_sweep.open_quick_sweep(data, lambda pair: Shape(1.0, 0.0), capacity) as sweep:

        def watch() -> None:
            lines = sweep.searcher.progress()
            driver.look(sum(line.search_done + line.final_done for line in lines))

        how = "without Ray" if inline else f"{slots} at once"
        say(f"{trials} trials of {pairs} pairs, {how}, {versions()}")
        if inline:
            quick_sweep.run_inline(sweep.searcher, driver.look)
        else:
            quick_sweep.run_on_ray(sweep.searcher, slots, 0, lambda assignment: 0.0, watch)
        report(sweep.snapshot(), driver)
        say(f"whole run: {time.perf_counter() - started:.0f} s")


def main() -> None:
    """Reads the options and runs once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=200, help="they share the trials")
    parser.add_argument("--slots", type=int, default=2, help="trials at once, a core each")
    parser.add_argument("--inline", action="store_true", help="searcher and ledger, without Ray")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    run(options.trials, options.pairs, options.slots, options.inline)


if __name__ == "__main__":
    main()
