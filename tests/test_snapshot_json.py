"""A snapshot survives its way as text, to the last bit."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raybench import snapshot_json
from raybench.errors import ResourceError
from raybench.measurements import Profile, Timing
from raybench.records import EndRecord, EpochRecord, PairRow, SweepSnapshot, TrialRow
from raybench.snapshot_json import from_json, pack, to_json, unpack
from tests.factories import realistic_snapshot

words = st.text(max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 10**6)
metrics = st.dictionaries(words, numbers, max_size=3)
facts = st.dictionaries(words, words | numbers, max_size=3)
plain = st.recursive(
    st.none() | st.booleans() | counts | numbers | words,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(words, below, max_size=2),
    max_leaves=6,
)
mappings = st.dictionaries(words, plain, max_size=3)
maybe_count = st.none() | counts
texts = st.lists(words, max_size=3).map(tuple)
epochs = st.builds(
    EpochRecord, epoch=counts, stage=counts, lr=numbers, finished_at=numbers, duration_s=numbers,
    device_share=numbers, attempt=counts, metrics=metrics,
)  # fmt: skip
ends = st.builds(
    EndRecord, state=st.sampled_from(["complete", "pruned", "failed", "interrupted"]),
    finished_at=numbers, failure=st.none() | st.just("oom"), reason=words, best_epoch=maybe_count,
    best=metrics, test=metrics, oracle=metrics, weights_path=st.none() | words,
    weights_sha256=st.none() | words, predictions_path=st.none() | words,
    predictions_sha256=st.none() | words, facts=facts,
)  # fmt: skip
trials = st.builds(
    TrialRow, pair_id=words, phase=st.sampled_from(["search", "final"]), number=counts,
    state=st.sampled_from(["waiting", "running", "complete", "pruned", "failed"]),
    params=st.dictionaries(words, counts | numbers, max_size=2),
    epochs=st.lists(epochs, max_size=2).map(tuple), end=st.none() | ends, seed=maybe_count,
    fold=counts, configs=texts, source=maybe_count, superseded=st.booleans(), failures=texts,
)  # fmt: skip
pairs = st.builds(
    PairRow, id=words, backbone=words, dataset=words, subset=words,
    state=st.sampled_from(["waiting", "searching", "done"]), quota=counts, default_params=metrics,
    final_seeds=st.lists(counts, max_size=3).map(tuple), final_configs=texts,
    trials=st.lists(trials, max_size=2).map(tuple), facts=facts, current=st.booleans(),
    owed=maybe_count, backbone_spec=mappings, folds=counts,
)  # fmt: skip
timings = st.none() | st.builds(
    Timing, batch_size=counts, median_ms=numbers, p95_ms=numbers, count=counts,
    images_per_s=numbers, peak_memory_gb=st.none() | numbers, energy_j=st.none() | numbers,
)  # fmt: skip
profiles = st.builds(
    Profile, backbone=words, kwargs=mappings, image_size=counts, classes=counts, device=words,
    precision=words, threads=counts, parameters=counts, macs=maybe_count, activations=maybe_count,
    single=timings, batched=timings, training=timings, shared=st.booleans(), seen=words,
    at=numbers, versions=st.dictionaries(words, words, max_size=2),
)  # fmt: skip
snapshots = st.builds(
    SweepSnapshot, sweep=words, description=words, attempt=counts, metric=words, spec=mappings,
    pairs=st.lists(pairs, max_size=2).map(tuple), lease=st.none() | mappings,
    profiles=st.lists(profiles, max_size=1).map(tuple), ledger_id=words,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(snapshots)
def test_back_is_exactly_what_went(snapshot: SweepSnapshot) -> None:
    back = unpack(pack(snapshot))
    assert back == snapshot
    assert repr(back) == repr(snapshot)  # 1 == 1.0 == True, but they are not the same


def test_every_field_travels() -> None:
    """A field added to a record must not be lost: the strategies above build every one."""
    for kind, strategy in (
        (EpochRecord, epochs), (EndRecord, ends), (TrialRow, trials), (PairRow, pairs),
        (Profile, profiles), (SweepSnapshot, snapshots),
    ):  # fmt: skip
        given = strategy.wrapped_strategy.kwargs  # type: ignore[attr-defined]
        assert {field.name for field in dataclasses.fields(kind)} == set(given), kind


def test_a_whole_sweep_is_one_line_of_ascii() -> None:
    snapshot = realistic_snapshot()
    text = pack(snapshot)
    assert text.isascii() and "\n" not in text
    assert unpack(text) == snapshot


def test_keys_of_a_newer_version_are_ignored() -> None:
    snapshot = realistic_snapshot()
    data: dict[str, Any] = json.loads(json.dumps(to_json(snapshot)))
    pair = data["snapshot"]["pairs"][0]
    trial = next(t for t in pair["trials"] if t["end"])
    for place in (data["snapshot"], pair, trial, trial["end"], trial["epochs"][0]):
        place["newer"] = 1
    assert from_json(data) == snapshot


def test_another_format_is_refused() -> None:
    data = {**to_json(realistic_snapshot()), "format": 2, "raybench": "9.9"}
    with pytest.raises(ResourceError, match=r"format 2 \(raybench 9.9\).*same version on both"):
        from_json(data)


def packed(text: bytes) -> str:
    return base64.b64encode(zlib.compress(text)).decode()


@pytest.mark.parametrize(
    "text",
    [
        b"[]", b"3", b"null", b'{"format":1}', b'{"format":1,"snapshot":[]}',
        b'{"format":1,"snapshot":{"pairs":3,"profiles":[]}}',
        b'{"format":1,"snapshot":{"pairs":[[]],"profiles":[]}}',
        b'{"format":1,"snapshot":{"pairs":[],"profiles":[1]}}',
        b'{"format":1,"snapshot":{"pairs":[],"profiles":[]}}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_snapshot_is_told(text: bytes) -> None:
    with pytest.raises(ResourceError, match="no snapshot|damaged on its way"):
        unpack(packed(text))


def test_what_unpacks_to_far_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(to_json(realistic_snapshot())).encode()
    monkeypatch.setattr(snapshot_json, "MAX_BYTES", len(text))
    unpack(packed(text))
    monkeypatch.setattr(snapshot_json, "MAX_BYTES", len(text) - 1)
    with pytest.raises(ResourceError, match="damaged on its way: over"):
        unpack(packed(text))


@pytest.mark.parametrize(
    "damage", [lambda t: t[:-8], lambda t: t[:40] + "!" + t[41:], lambda t: ""]
)
def test_damage_is_told(damage: Any) -> None:
    with pytest.raises(ResourceError, match="damaged on its way"):
        unpack(damage(pack(realistic_snapshot())))
