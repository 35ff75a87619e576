"""The tidy tables hold every record once."""

from __future__ import annotations

from raybench.analysis.frames import records_frame, trials_frame
from tests.factories import (
    DEFAULT_LR,
    empty_snapshot,
    final_trial,
    make_pair,
    make_snapshot,
    pair_id,
    realistic_snapshot,
    search_trial,
)

NAME = pair_id("resnet10t")


def test_one_row_per_trial_and_epoch() -> None:
    snapshot = realistic_snapshot()
    trials = [t for p in snapshot.pairs for t in p.trials]
    records = records_frame(snapshot)
    assert len(records) == sum(len(t.epochs) for t in trials)
    assert not records.duplicated(["pair", "phase", "trial", "epoch"]).any()
    assert len(trials_frame(snapshot)) == len(trials)


def test_records_hold_parameters_metrics_and_cost() -> None:
    row = records_frame(
        make_snapshot(make_pair("resnet10t", [search_trial(NAME, 4, 1e-3, (0.5, 0.7))]))
    ).iloc[1]
    assert (row["trial"], row["epoch"], row["params/lr"], row["epoch_lr"]) == (4, 2, 1e-3, 1e-3)
    assert (row["val/accuracy"], row["train/loss"]) == (0.7, 1.0)
    assert (row["device_seconds"], row["phase"], row["dataset"]) == (0.5, "search", "digits")


def test_trials_hold_how_they_ended() -> None:
    frame = trials_frame(
        make_snapshot(
            make_pair(
                "resnet10t",
                [
                    search_trial(NAME, 0, DEFAULT_LR, (0.9, 0.8)),
                    search_trial(NAME, 1, 1e-2, (), "failed", failure="oom", reason="too large"),
                    search_trial(NAME, 2, 1e-4, (0.3,), "running"),
                    final_trial(NAME, 0, 2, 0.88, configs=("tuned", "default"), superseded=True),
                ],
            )
        )
    )
    assert frame["state"].to_list() == ["complete", "failed", "running", "complete"]
    assert frame["val/accuracy"].to_list()[0] == 0.9
    assert frame["val/accuracy"].to_list()[2] == 0.3
    assert (frame.at[1, "failure"], frame.at[1, "reason"]) == ("oom", "too large")
    assert frame.loc[0, "best_epoch"] == 1
    final = frame.iloc[3]
    assert (final["seed"], final["config"], final["superseded"]) == (2, "tuned+default", True)
    assert final["test/accuracy"] == 0.88
    assert frame["seed"].dtype == "Int64"


def test_an_empty_sweep_gives_empty_frames_with_columns() -> None:
    for frame in (records_frame(empty_snapshot()), trials_frame(empty_snapshot())):
        assert len(frame) == 0
        assert {"pair", "backbone", "trial", "state"} <= set(frame.columns)
