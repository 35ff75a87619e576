"""What a pair's parent run should hold, from all of its trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from raybench.analysis.results import final_values
from raybench.records import PairRow, PairState, TrialRow, is_better
from raybench.selection import select_winner
from raybench.tracking.entries import CLOSED, Point, RunEntry, RunStatus, milliseconds, pair_tags

# An incomplete pair was cut off by its deadline; a larger one makes it RUNNING again.
PAIR_STATUS: Mapping[PairState, RunStatus] = {
    "waiting": "SCHEDULED",
    "searching": "RUNNING",
    "final": "RUNNING",
    "done": "FINISHED",
    "failed": "FAILED",
    "incomplete": "KILLED",
}


def condense(trial: TrialRow, metric: str) -> TrialRow:
    """A trial's first and best epoch only: what a summary needs, whatever the trial's length."""
    best = None
    for record in trial.epochs:
        value = record.metrics.get(metric)
        if value is not None and (best is None or is_better(metric, value, best.metrics[metric])):
            best = record
    kept = {record.epoch: record for record in (*trial.epochs[:1], *((best,) if best else ()))}
    return dataclasses.replace(trial, epochs=tuple(kept.values()))


def exported_trial(pair: PairRow) -> TrialRow | None:
    """The trial whose weights stand for a done pair: the tuned configuration's first final seed.

    Not the best of the seeds: that would pick by the test split. The default configuration's, where
    the sweep file asks for no other.
    """
    if pair.state != "done":
        return None
    config = "tuned" if "tuned" in pair.final_configs else "default"
    complete = [t for t in pair.final_trials(config) if t.state == "complete"]
    finals = sorted(complete, key=lambda t: (pair.final_seeds.index(t.seed or 0), t.fold))
    return next((t for t in finals if t.end is not None and t.end.weights_path), None)


def pair_entry(sweep: str, metric: str, pair: PairRow) -> RunEntry:
    """The parent run of one pair; ``pair.trials`` may be condensed."""
    status = PAIR_STATUS[pair.state]
    winner = select_winner(pair.trials, metric)
    ends = [t.end.finished_at for t in pair.trials if t.end is not None]
    starts = [e.finished_at - e.duration_s for t in pair.trials for e in t.epochs[:1]]
    tags = {"raybench.kind": "pair", "raybench.state": pair.state}
    if winner is not None:
        tags["raybench.winner"] = winner.key
    if not pair.current:
        tags["raybench.current"] = "false"
    return RunEntry(
        key=pair.id,
        name=" · ".join((pair.backbone, pair.dataset, pair.subset)),
        status=status,
        settled=False,
        tags=pair_tags(sweep, pair) | tags,
        params={"backbone": pair.backbone, "dataset": pair.dataset, "subset": pair.subset},
        points=tuple(_pair_points(pair, metric, winner)),
        start_ms=milliseconds(min(starts)) if starts else None,
        end_ms=milliseconds(max(ends)) if ends and status in CLOSED else None,
    )


def _pair_points(pair: PairRow, metric: str, winner: TrialRow | None) -> Iterator[Point]:
    if winner is None:
        return
    yield from _best_so_far(pair, metric)
    if pair.state in ("final", "done"):
        yield from _chosen(pair, metric, winner)
    if pair.state == "done":
        yield from _test_means(pair)


def _complete_search(pair: PairRow) -> list[TrialRow]:
    """Complete search trials in the order they ended."""
    trials = [t for t in pair.search_trials() if t.state == "complete" and t.end is not None]
    return sorted(trials, key=lambda t: (t.end.finished_at if t.end else 0.0, t.number))


def _best_so_far(pair: PairRow, metric: str) -> Iterator[Point]:
    """The search's curve: the best validation value after 1, 2, 3 ... complete trials."""
    best = float("nan")
    for step, trial in enumerate(_complete_search(pair), start=1):
        value = trial.best_value(metric)
        if value is not None and is_better(metric, value, best):
            best = value
        if best == best and trial.end is not None:
            name = "best/" + metric.removeprefix("val/")
            yield Point(name, best, milliseconds(trial.end.finished_at), step)


def _chosen(pair: PairRow, metric: str, winner: TrialRow) -> Iterator[Point]:
    """Hyperparameters as metrics, not params: a larger budget may choose others later."""
    trials = _complete_search(pair)
    assert winner.end is not None and trials[-1].end is not None
    time_ms, step = milliseconds(trials[-1].end.finished_at), len(trials)
    chosen = {f"chosen/{name}": float(value) for name, value in winner.params.items()}
    chosen["chosen/trial"] = float(winner.number)
    others = {
        "best/" + k.removeprefix("val/"): v for k, v in winner.end.best.items() if k != metric
    }
    for key, value in {**chosen, **others}.items():
        yield Point(key, float(value), time_ms, step)


def _test_means(pair: PairRow) -> Iterator[Point]:
    """Mean over the finals and its 95% t interval, of every test metric that all of them have."""
    ends = [t.end for t in pair.final_trials("tuned") if t.state == "complete" and t.end]
    if not ends:
        return
    time_ms, step = milliseconds(max(e.finished_at for e in ends)), len(_complete_search(pair))
    for key in ends[0].test:
        values = final_values(pair, "tuned", key)
        if values.mean is None or len(values.by_run) < len(ends):
            continue
        yield Point(key, values.mean, time_ms, step)
        if values.ci95 is not None:
            yield Point(f"{key}_ci95_low", values.ci95[0], time_ms, step)
            yield Point(f"{key}_ci95_high", values.ci95[1], time_ms, step)
