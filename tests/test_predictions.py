"""Predictions read back: what the trial wrote, or nothing."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raybench.predictions import NO_PREDICTIONS, StoredPredictions
from raybench.records import TrialRow
from raybench.storage import Store
from raybench.trial.predict import write_predictions
from tests.factories import final_trial

IDS = ["a/1.png", "a/2.png", "b/ü.png"]
LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 3.0]])
LABELS = torch.tensor([0, 0, 1])
FACTS = {"key": "p/final/0", "split": "sha256:s", "classes": '["cat", "dog"]'}


def written(folder: Path, facts: dict[str, str]) -> TrialRow:
    (folder / "p").mkdir()
    digest = write_predictions(folder / "p", LOGITS, LABELS, IDS, facts)
    return at("p/predictions.safetensors", digest)


def at(path: str | None, digest: str | None) -> TrialRow:
    trial = final_trial("p", 0, 0, 0.9)
    assert trial.end is not None
    return replace(trial, end=replace(trial.end, predictions_path=path, predictions_sha256=digest))


def test_reads_what_a_trial_wrote(tmp_path: Path) -> None:
    trial = written(tmp_path, FACTS | {"groups": '["g", null, "g"]'})
    found = StoredPredictions(Store(tmp_path)).read(trial)
    assert found is not None
    assert (found.key, found.split) == ("p/final/0", "sha256:s")
    assert found.ids == tuple(IDS) and found.groups == ("g", None, "g")
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1] and found.labels.dtype == np.int64
    np.testing.assert_array_equal(found.probabilities, LOGITS.softmax(dim=1).numpy())


def test_older_files_name_no_classes_and_no_groups(tmp_path: Path) -> None:
    found = StoredPredictions(Store(tmp_path)).read(written(tmp_path, {"key": "p/final/0"}))
    assert found is not None
    assert (found.classes, found.groups, found.split) == (("0", "1"), None, "")


def test_nothing_where_nothing_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = StoredPredictions(Store(tmp_path))
    assert source.read(at(None, None)) is None
    assert source.read(replace(final_trial("p", 0, 0, None, state="running"))) is None
    assert NO_PREDICTIONS.read(at("p/predictions.safetensors", "x")) is None
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert source.read(at("p/gone.safetensors", "x")) is None
    assert "of p/final/0 cannot be read" in caplog.text


def test_a_changed_file_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trial = written(tmp_path, FACTS)
    file = tmp_path / "p" / "predictions.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    assert StoredPredictions(Store(tmp_path)).read(trial) is None
    assert "not those it wrote" in caplog.text


@pytest.mark.parametrize("path", ["../p/predictions.safetensors", "/etc/passwd"])
def test_a_ledger_cannot_point_outside(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "inner").mkdir()
    trial = written(tmp_path, FACTS)
    assert trial.end is not None
    outside = at(path, trial.end.predictions_sha256)
    assert StoredPredictions(Store(tmp_path / "inner")).read(outside) is None
    assert "outside" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\x05\x00\x00\x00\x00\x00\x00\x00{}{}{", b"x" * 64])
def test_what_is_no_such_file_is_left_out(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    import hashlib

    (tmp_path / "f").write_bytes(content)
    trial = at("f", hashlib.sha256(content).hexdigest())
    assert StoredPredictions(Store(tmp_path)).read(trial) is None
    assert "cannot be read" in caplog.text


def test_lengths_that_differ_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trial = written(tmp_path, FACTS | {"groups": '["g"]'})
    assert StoredPredictions(Store(tmp_path)).read(trial) is None
    assert "differ in length" in caplog.text
