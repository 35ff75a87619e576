"""What an actor does before its trials; the trials themselves: ``tests/trial``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from raybench.sweep import trainable
from raybench.sweep.supplies import DataNeed, Supplies, WeightsNeed
from raybench.sweep.trainable import TrialActor

BOTH = Supplies(
    "s3://bucket/p",
    "/cache",
    "",
    cache_is_shared=False,
    data=(DataNeed("{}", 32, "none", "d1"), DataNeed("{}", 32, "none", "d2")),
    weights=(WeightsNeed("{}", "w1", "a.pth"), WeightsNeed("{}", "w2", "b.pth")),
)


def test_a_trial_waits_for_what_it_needs_only() -> None:
    mine = BOTH.of_trial("d2", "w1")
    assert [need.digest for need in mine.data] == ["d2"]
    assert [want.sha256 for want in mine.weights] == ["w1"]
    assert mine.shared == BOTH.shared
    assert not BOTH.of_trial("d1", "").weights, "random weights"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Supplies]:
    """What actors fetch; a trial here is nothing but its digests."""
    calls: list[Supplies] = []
    monkeypatch.setattr(trainable, "fetch_supplies", lambda needed, tell: calls.append(needed))
    monkeypatch.setattr(trainable, "_StopFlag", lambda signal: lambda: False)
    monkeypatch.setattr(trainable, "run_trial", lambda config, should_stop: iter(()))
    monkeypatch.setattr(trainable.os, "umask", lambda mask: mask)  # ours is every test's
    monkeypatch.setattr(trainable.TrialConfig, "from_dict", lambda data: SimpleNamespace(**data))
    return calls


def trial(tmp_path: Any, digest: str) -> dict[str, Any]:
    values = {"data_digest": digest, "weights_sha256": "w1", "checkpoint_root": str(tmp_path)}
    return {"trial": values}


def actor(config: dict[str, Any], supplies: Supplies | None) -> TrialActor:
    made = TrialActor.__new__(TrialActor)
    made.setup(config, signal=None, supplies=supplies)
    return made


def test_an_actor_fetches_each_once_before_its_trial(
    tmp_path: Any, fetched: list[Supplies]
) -> None:
    reused = actor(trial(tmp_path, "d1"), BOTH)
    assert fetched == [BOTH.of_trial("d1", "w1")]
    for digest in ("d1", "d2", "d1", "d2"):
        reused.reset_config(trial(tmp_path, digest))
    assert fetched == [BOTH.of_trial("d1", "w1"), BOTH.of_trial("d2", "w1")]


def test_on_a_ray_of_ones_own_there_is_nothing_to_fetch(
    tmp_path: Any, fetched: list[Supplies]
) -> None:
    actor(trial(tmp_path, "d1"), None)
    assert not fetched
