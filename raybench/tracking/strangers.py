"""Runs that MLflow holds and the ledger does not have: of a past that it lost, or of its copy."""

from __future__ import annotations

import logging
from pathlib import Path

from mlflow import MlflowClient

from raybench.analysis.numbers import plural
from raybench.records import SweepSnapshot
from raybench.tracking.entries import SENT_TAG, RunEntry, params_as_sent, trial_entry
from raybench.tracking.held import HeldRun, delete_run

_logger = logging.getLogger(__name__)


def drop_strangers(
    client: MlflowClient,
    runs: dict[str, HeldRun],
    snapshot: SweepSnapshot,
    checkpoints: Path | str,
    *,
    in_own_store: bool,
) -> set[str]:
    """Take out of ``runs`` what is not of this (whole) ledger; returns the keys left alone.

    A trial's run with other parameters or epochs is of another past, before a backup was put back:
    deleted. So are, in the home's own store, runs of trials that the ledger does not know; on a
    shared store a copy of this home may have added them, and they stay. With a deleted run goes
    that of its pair, which sums it up. Only where the ledger has an identity, and hence an
    experiment that is nobody else's.
    """
    if not snapshot.ledger_id:
        return set()
    entries = {
        trial.key: trial_entry(snapshot, pair, trial, checkpoints)
        for pair in snapshot.pairs
        for trial in pair.trials
    }
    unknown = runs.keys() - entries.keys() - {pair.id for pair in snapshot.pairs}
    lost = {key for key in runs.keys() & entries.keys() if not _is_run_of(entries[key], runs[key])}
    if in_own_store:
        lost, unknown = lost | unknown, set()
    for key in unknown:
        del runs[key]
    _delete(client, runs, lost)
    return unknown


def tell_left_alone(count: int) -> None:
    """Two homes with one ledger write to one experiment: somebody should know."""
    held = plural(count, "run")
    they = "it is" if count == 1 else "they are"
    _logger.warning(
        "MLflow holds %s of this sweep that this ledger does not have; %s left alone", held, they
    )


def _delete(client: MlflowClient, runs: dict[str, HeldRun], lost: set[str]) -> None:
    parents = {key.rsplit("/", 2)[0] for key in lost} & runs.keys()
    for key in sorted(lost | parents):
        delete_run(client, runs.pop(key))
    if lost:
        held = plural(len(lost), "run")
        _logger.warning("MLflow held %s that the ledger does not have; deleted there", held)


def _is_run_of(entry: RunEntry, run: HeldRun) -> bool:
    """Parameters and epochs are as the ledger has them, as far as MLflow was told of them."""
    params = params_as_sent(entry)
    same = all(params.get(key, value) == value for key, value in run.params.items())
    return same and (SENT_TAG not in run.tags or run.tags[SENT_TAG] in entry.past)
