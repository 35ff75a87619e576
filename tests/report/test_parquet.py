"""Parquet: every record and every prediction, with types that do not hang on what happens to be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raybench.analysis.frames import records_frame, trials_frame
from raybench.analysis.whole import Analysis
from raybench.errors import HomeError
from raybench.predictions import StoredPredictions
from raybench.records import SweepSnapshot
from raybench.report import parquet
from raybench.report.parquet import write_parquet
from raybench.storage import Store
from tests.factories import make_pair, make_snapshot, pair_id, profiled_snapshot, search_trial
from tests.prediction_files import CLASSES, with_predictions

NAMES = ["trials", "epochs", "costs", "leaderboard", "predictions"]
Tables = Mapping[str, pa.Table]


def written(snapshot: SweepSnapshot, folder: Path, checkpoints: Path) -> Tables:
    source = StoredPredictions(Store(checkpoints))
    files = write_parquet(Analysis(snapshot, source), folder)
    assert [file.stem for file in files] == NAMES and sorted(folder.iterdir()) == sorted(files)
    return {file.stem: pq.read_table(file) for file in files}


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    snapshot = with_predictions(profiled_snapshot(), tmp_path, groups=True)
    return written(snapshot, tmp_path / "parquet", tmp_path)


def test_every_record_is_there(tables: Tables) -> None:
    snapshot = profiled_snapshot()
    for name, frame in (("trials", trials_frame(snapshot)), ("epochs", records_frame(snapshot))):
        back = tables[name].to_pandas()
        assert list(back.columns) == list(frame.columns) and len(back) == len(frame) > 50
        pd.testing.assert_series_equal(back["pair"], frame["pair"], check_dtype=False)
        pd.testing.assert_series_equal(back["val/accuracy"], frame["val/accuracy"])
    assert len(tables["leaderboard"]) == sum(pair.current for pair in snapshot.pairs)
    assert len(tables["costs"]) == len(snapshot.profiles)


def test_every_prediction_is_there(tables: Tables, tmp_path: Path) -> None:
    snapshot = with_predictions(profiled_snapshot(), tmp_path, groups=True)
    source, table = StoredPredictions(Store(tmp_path)), tables["predictions"].to_pandas()
    seen = 0
    for pair in snapshot.pairs:
        for trial in pair.final_trials():
            found = source.read(trial)
            if found is None:
                continue
            rows = table[(table.pair == pair.id) & (table.trial == trial.number)]
            seen += len(rows)
            assert tuple(rows.image) == found.ids and tuple(rows.group) == found.groups
            assert (rows.label == found.labels).all() and (rows.seed == trial.seed).all()
            assert (np.stack(rows.probabilities) == found.probabilities).all()
            guesses = found.probabilities.argmax(axis=1)
            assert (rows.guess == guesses).all()
            assert list(rows.guess_name) == [CLASSES[g] for g in guesses]
            assert list(rows.label_name) == [CLASSES[label] for label in found.labels]
    assert seen == len(table) > 100


def test_types(tables: Tables) -> None:
    predictions = tables["predictions"].schema
    assert predictions.field("probabilities").type == pa.list_(pa.float32())
    assert predictions.field("label").type == pa.int32()
    assert tables["trials"].schema.field("seed").type == pa.int64()
    assert tables["trials"].schema.field("current").type == pa.bool_()
    assert tables["epochs"].schema.field("val/accuracy").type == pa.float64()


def test_an_empty_column_has_its_type_all_the_same(tmp_path: Path) -> None:
    """No final, no failure: text is text and numbers are numbers."""
    pair = make_pair("x", (search_trial(pair_id("x", "digits"), 0),))
    tables = written(make_snapshot(pair), tmp_path / "parquet", tmp_path)
    assert not any(
        pa.types.is_null(field.type) for table in tables.values() for field in table.schema
    )
    assert pa.types.is_large_string(tables["trials"].schema.field("failure").type) or (
        tables["trials"].schema.field("failure").type == pa.string()
    )
    assert len(tables["predictions"]) == 0


def test_memory_is_bounded_by_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: Tables
) -> None:
    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 3000)
    snapshot = with_predictions(profiled_snapshot(), tmp_path, groups=True)
    again = written(snapshot, tmp_path / "again", tmp_path)
    assert pq.ParquetFile(tmp_path / "again" / "predictions.parquet").num_row_groups > 5
    assert again["predictions"].to_pylist() == tables["predictions"].to_pylist()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot be written"):
        write_parquet(Analysis(profiled_snapshot()), tmp_path / "file")
