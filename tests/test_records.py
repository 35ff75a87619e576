"""Records survive JSON, and rows answer what the layers ask."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.records import (
    EndRecord,
    EpochRecord,
    from_dict,
    is_better,
    is_minimised,
    to_dict,
)
from tests.factories import final_trial, make_pair, search_trial
from tests.measurements import make_footprint, make_profile

NUMBER = st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.dictionaries(st.sampled_from(["val/accuracy", "val/nll", "train/loss"]), NUMBER)
EPOCH = st.builds(
    EpochRecord,
    epoch=st.integers(1, 999),
    stage=st.integers(0, 3),
    lr=NUMBER,
    finished_at=NUMBER,
    duration_s=NUMBER,
    device_share=NUMBER,
    attempt=st.integers(1, 99),
    metrics=METRICS,
)
END = st.builds(
    EndRecord,
    state=st.sampled_from(["complete", "pruned", "failed", "interrupted"]),
    finished_at=NUMBER,
    failure=st.sampled_from([None, "oom", "user"]),
    reason=st.text(),
    best_epoch=st.none() | st.integers(1, 999),
    best=METRICS,
    test=METRICS,
    weights_path=st.none() | st.text(),
    facts=st.dictionaries(st.text(), st.text() | NUMBER),
)


@given(EPOCH | END)
def test_json_and_back(record):
    assert from_dict(json.loads(json.dumps(to_dict(record)))) == record


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_sql_would_mangle_is_refused(bad):
    record = search_trial("p", 0, values=(bad,)).epochs[0]
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_dict(record)


def test_keys_of_a_newer_version_are_ignored():
    record = search_trial("p", 0).epochs[0]
    assert from_dict(to_dict(record) | {"carbon_g": 3}) == record


@pytest.mark.parametrize(
    "stored",
    [make_footprint(peak_memory_gb=None), make_profile(), make_profile(training=None, macs=None)],
)
def test_what_was_measured_survives_json(stored):
    data = json.loads(json.dumps(stored.to_dict()))
    assert type(stored).from_dict(data | {"carbon_g": 3}) == stored


def test_a_measurement_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        make_footprint(train_s=math.inf).to_dict()


def test_which_way_is_better():
    assert is_minimised("val/nll") and is_minimised("test/ece") and not is_minimised("val/auroc")
    assert is_better("val/accuracy", 0.9, 0.8) and is_better("val/nll", 0.1, 0.2)
    assert not is_better("val/accuracy", 0.9, 0.9)
    assert is_better("val/accuracy", 0.0, math.nan)
    assert not is_better("val/accuracy", math.nan, math.nan)


def test_rows_add_up():
    row = search_trial("pair", 3, values=(0.2, 0.6, 0.4))
    assert row.key == "pair/search/3"
    assert row.device_seconds == pytest.approx(3 * 2.0 * 0.25)
    assert row.best_value("val/accuracy") == 0.6
    assert row.best_value("val/auroc") is None


def test_superseded_finals_do_not_count():
    finals = [
        final_trial("p", 0, 0, 0.9, superseded=True),
        final_trial("p", 1, 0, 0.8),
        final_trial("p", 2, 0, 0.7, configs=("default",)),
    ]
    pair = make_pair("timm:resnet18", [search_trial("p", 0), *finals])
    assert [t.number for t in pair.final_trials()] == [1, 2]
    assert [t.number for t in pair.final_trials("tuned")] == [1]
    assert [t.number for t in pair.search_trials()] == [0]
