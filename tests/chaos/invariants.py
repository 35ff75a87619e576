"""What must hold once a sweep is done, whatever was killed on the way: one function, all of it.

Each violation is a line that begins with the invariant's name. ``test_invariants`` damages a sound
home in one place at a time and sees that exactly that invariant is named.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raybench.records import PairRow, SweepSnapshot
from raybench.sweep.lease import read_holder
from raybench.sweep.reader import SweepReader
from raybench.sweep.tables import open_engine
from raybench.trial.files import sha256_of
from tests.chaos.aftermath import Aftermath, check_aftermath
from tests.chaos.ledgers import TERMINAL, Trial, attempt_of, read_runs, read_trials
from tests.sweep.test_runners import table

_ASIDE = re.compile(r"^\.tmp-|^\.building-|\.tmp$|^\.writable-|^\.mlflow\.db-")
_CHECKPOINT = re.compile(r"^e\d+-b\d+$")
_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}


@dataclass(frozen=True)
class Evidence:
    """What a home holds of one sweep."""

    home: Path
    sweep: str
    trials: Sequence[Trial]
    snapshot: SweepSnapshot

    @property
    def ended(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.state in TERMINAL]


def check_invariants(
    home: Path,
    sweep: str,
    unbroken: SweepSnapshot | None = None,
    aftermath: Aftermath | None = None,
) -> list[str]:
    """All invariants of a finished sweep; the violated ones in words.

    Args:
        home: with ledger, MLflow store and checkpoints.
        sweep: its name.
        unbroken: of a run that nobody disturbed; the tables must then be the same bits.
        aftermath: processes, resources and a further run, where there were drivers.
    """
    evidence = gather(home, sweep)
    violations = [line for check in CHECKS for line in check(evidence)]
    if unbroken is not None:
        violations += _check_table(evidence.snapshot, unbroken)
    if aftermath is not None:
        violations += check_aftermath(aftermath, home, sweep)
    return violations


def gather(home: Path, sweep: str) -> Evidence:
    return Evidence(home, sweep, read_trials(home, sweep), snapshot_of(home, sweep))


def snapshot_of(home: Path, sweep: str) -> SweepSnapshot:
    engine = open_engine(f"sqlite:///{home / 'ledger.db'}", create=False)
    try:
        return SweepReader(engine, sweep).snapshot()
    finally:
        engine.dispose()


def _check_records(evidence: Evidence) -> Iterator[str]:
    """One terminal record per trial, which says what Optuna says."""
    for key, count in Counter(trial.key for trial in evidence.trials).items():
        if count > 1:
            yield f"records: {count} trials {key}"
    for trial in evidence.trials:
        told, said = TERMINAL.get(trial.state), trial.end.get("state")
        if told is None:
            yield f"records: {trial.key} is {trial.state}, not over"
        elif said != told:
            yield f"records: {trial.key} is {told}, its end record says {said}"


def _check_attempts(evidence: Evidence) -> Iterator[str]:
    """Epochs 1, 2, 3 ...; attempts never go back, and none is later than the lease's."""
    latest = attempt_of(evidence.home, evidence.sweep)
    for trial in evidence.trials:
        epochs = sorted(trial.epochs, key=lambda record: record["epoch"])
        if [record["epoch"] for record in epochs] != list(range(1, len(epochs) + 1)):
            yield f"attempts: {trial.key} has epochs {[record['epoch'] for record in epochs]}"
        attempts = [record["attempt"] for record in epochs]
        if attempts != sorted(attempts) or any(not 1 <= a <= latest for a in attempts):
            yield f"attempts: {trial.key} went through {attempts}, the lease is at {latest}"


def _check_running(evidence: Evidence) -> Iterator[str]:
    """Nothing is RUNNING for Optuna unless a living driver holds the lease."""
    running = [trial.key for trial in evidence.trials if trial.state == "RUNNING"]
    engine = open_engine(f"sqlite:///{evidence.home / 'ledger.db'}", create=False)
    holder = read_holder(engine, evidence.sweep)
    engine.dispose()
    if running and not (holder and holder["alive"]):
        yield f"running: without a driver: {', '.join(running)}"


def _check_mlflow(evidence: Evidence) -> Iterator[str]:
    """Exactly one run per trial, by tag, with its status."""
    runs = read_runs(evidence.home, evidence.sweep)
    wanted = {trial.key: _STATUS[trial.state] for trial in evidence.ended}
    counts = Counter(run.key for run in runs)
    for key in sorted(wanted.keys() | counts.keys()):
        if counts[key] != (key in wanted):
            yield f"mlflow: {counts[key]} runs of {key}, {int(key in wanted)} trials that are over"
    for run in runs:
        if run.status != wanted.get(run.key, run.status):
            yield f"mlflow: {run.key} is {run.status} instead of {wanted[run.key]}"


def _check_steps(evidence: Evidence) -> Iterator[str]:
    """One point per metric and step, in the order of time, and as many as there were epochs."""
    epochs = {trial.key: len(trial.epochs) for trial in evidence.trials}
    for run in read_runs(evidence.home, evidence.sweep):
        for metric, points in run.points.items():
            steps = [step for _, step in points]
            if any(b <= a for a, b in zip(steps, steps[1:], strict=False)):
                yield f"steps: {metric} of {run.key} has steps {steps}"
        told = len({step for _, step in run.points.get("train/lr", [])})
        if told != epochs.get(run.key, told):
            yield f"steps: {run.key} has {told} epochs in MLflow, {epochs[run.key]} in the ledger"


def _check_files(evidence: Evidence) -> Iterator[str]:
    """Best weights and predictions are there, load, and are the files of the record."""
    keeps_all = evidence.snapshot.spec.get("keep", "all") == "all"
    for trial in evidence.ended:
        for kind in ("weights", "predictions"):
            path, digest = trial.end.get(f"{kind}_path"), trial.end.get(f"{kind}_sha256")
            if path is not None:
                problem = _problem_of(evidence.home / "checkpoints" / path, digest)
                if problem is not None:
                    yield f"{kind}: of {trial.key}: {problem}"
            elif trial.end.get("state") == "complete" and _must_have(kind, trial, keeps_all):
                yield f"{kind}: {trial.key} is complete and has none"


def _must_have(kind: str, trial: Trial, keeps_all: bool) -> bool:
    return trial.phase == "final" or (kind == "weights" and keeps_all)


def _problem_of(path: Path, digest: str | None) -> str | None:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return f"no file {path.name}"
    try:
        with safe_open(path, "np") as file:
            names = list(file.keys())
    except SafetensorError as error:
        return f"{path.name} does not load ({error})"
    if not names:
        return f"{path.name} is empty"
    return None if sha256_of(path) == digest else f"{path.name} is not the file of the record"


def _check_left_behind(evidence: Evidence) -> Iterator[str]:
    """No checkpoints of trials that are over, nothing half-written anywhere."""
    root = evidence.home / "checkpoints" / evidence.sweep
    over = {trial.key.replace("/search/", "/search-").replace("/final/", "/final-")
            for trial in evidence.ended}  # fmt: skip
    for path in sorted(root.glob("*/*/**/*")):
        trial = "/".join(path.relative_to(root).parts[:2])
        if trial in over and _CHECKPOINT.match(path.name):
            yield f"left behind: checkpoint {path.relative_to(root)}"
    for path in sorted(evidence.home.rglob("*")):
        if _ASIDE.search(path.name):
            yield f"left behind: {path.relative_to(evidence.home)}"


def _check_budget(evidence: Evidence) -> Iterator[str]:
    """As many terminal search trials as the quota; one final per seed, fold and configuration."""
    for pair in evidence.snapshot.pairs:
        if not pair.current:
            continue
        done = {t.key for t in evidence.ended if t.pair == pair.id and t.phase == "search"}
        if len(done) != pair.quota:
            yield f"budget: {pair.id} has {len(done)} search trials of {pair.quota}"
        yield from _check_finals(pair)


def _check_finals(pair: PairRow) -> Iterator[str]:
    found = Counter((t.seed, t.fold, c) for t in pair.final_trials() for c in t.configs)
    wanted = {
        (seed, fold, config)
        for seed in pair.final_seeds
        for fold in range(pair.folds)
        for config in pair.final_configs
    }
    for run in sorted(wanted | found.keys(), key=str):
        if found[run] != (run in wanted):
            yield f"budget: {pair.id} has {found[run]} finals (seed, fold, configuration) {run}"


def _check_table(found: SweepSnapshot, unbroken: SweepSnapshot) -> Iterator[str]:
    """Times, rates and attempts aside, the same bits."""
    if any(trial.end is None for pair in found.pairs for trial in pair.trials):
        yield "table: has trials without an end"
        return
    ours, theirs = table(found), table(unbroken)
    keys = [row[0] for row in ours]
    if keys != [row[0] for row in theirs]:
        yield f"table: its trials are {keys}, unbroken {[row[0] for row in theirs]}"
        return
    for row, other in zip(ours, theirs, strict=True):
        if row != other:
            yield f"table: {row[0]} differs from the unbroken run: {_difference(row, other)}"


def _difference(row: Sequence[object], other: Sequence[object]) -> str:
    names = ("key", "seed", "source", "params", "epochs", "result", "hashes")
    first = next(i for i, (a, b) in enumerate(zip(row, other, strict=True)) if a != b)
    a, b = (json.dumps(value[first], default=str)[:120] for value in (row, other))
    return f"{names[first]} {a} instead of {b}"


CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    _check_records,
    _check_attempts,
    _check_running,
    _check_mlflow,
    _check_steps,
    _check_files,
    _check_left_behind,
    _check_budget,
)
