"""CSV files read back as the frames they were written from."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from raybench.analysis.cost import costs_frame
from raybench.analysis.frames import records_frame, trials_frame
from raybench.analysis.whole import Analysis
from raybench.records import SweepSnapshot
from raybench.report.csv import write_csv
from tests.factories import empty_snapshot, make_snapshot, realistic_snapshot
from tests.measurements import make_profile

PROFILED = replace(
    realistic_snapshot(), profiles=(make_profile(), make_profile(training=None, shared=True))
)


@pytest.mark.parametrize(
    "snapshot", [realistic_snapshot(), empty_snapshot(), make_snapshot(), PROFILED]
)
def test_four_files_with_all_rows_and_columns(snapshot: SweepSnapshot, tmp_path: Path) -> None:
    files = write_csv(Analysis(snapshot), tmp_path / "csv")
    assert [f.name for f in files] == [
        f"{name}.csv" for name in ("leaderboard", "trials", "epochs", "costs")
    ]
    frames = (
        Analysis(snapshot).leaderboard(),
        trials_frame(snapshot),
        records_frame(snapshot),
        costs_frame(snapshot),
    )
    for file, frame in zip(files, frames, strict=True):
        back = pd.read_csv(file)
        assert list(back.columns) == list(frame.columns)
        assert len(back) == len(frame)


def test_numbers_survive_to_the_last_digit(tmp_path: Path) -> None:
    snapshot = realistic_snapshot()
    analysis = Analysis(snapshot)
    file, *_ = write_csv(analysis, tmp_path)
    with file.open(encoding="utf-8", newline="") as stream:
        means = [float(row["test_mean"]) for row in csv.DictReader(stream) if row["test_mean"]]
    assert means == analysis.leaderboard()["test_mean"].dropna().to_list()


def test_costs_stand_there_as_measured_and_empty_where_absent(tmp_path: Path) -> None:
    *_, file = write_csv(Analysis(PROFILED), tmp_path)
    with file.open(encoding="utf-8", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert first["backbone"] == "timm:resnet18" and float(first["latency_median_ms"]) == 5.0
    assert float(first["training_images_per_s"]) == 80.0 and first["inference_energy_j"] == ""
    assert second["training_median_ms"] == "" and second["shared"] == "True"


def test_the_leaderboard_tells_tiers_and_chances(tmp_path: Path) -> None:
    file, *_ = write_csv(Analysis(realistic_snapshot()), tmp_path)
    rows = pd.read_csv(file).groupby("task")
    for _, task in rows:
        placed = task.dropna(subset=["tier"])
        assert placed["tier"].iloc[0] == 1 and placed["tier"].is_monotonic_increasing
        assert placed["chance"].sum() == pytest.approx(1)
