"""``raybench sync``: the projection run once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raybench.errors import ResourceError
from raybench.records import SweepSnapshot
from raybench.tracking.sync import SyncResult, sync
from tests.tracking.fake_ledger import FakeLedger, final, pair, trial
from tests.tracking.mlflow_state import Store


class Failing:
    """A projection that fails for the first ``times`` looks."""

    tracking_uri = "http://anna:secret@mlflow.example"

    def __init__(self, times: int, words: str = "Connection refused") -> None:
        self.times, self.words, self.looks = times, words, 0

    def look(self, header: SweepSnapshot) -> bool:
        self.looks += 1
        if self.looks <= self.times:
            raise ConnectionError(f"{self.tracking_uri}: {self.words}\nand a long story")
        return True

    def apply(self, snapshot: SweepSnapshot, sent: Callable[[str], None]) -> None:
        """Takes all."""


def test_sync_fills_the_store_and_counts(store: Store) -> None:
    ledger = FakeLedger(pair(trial(0, (0.5, 0.6)), trial(1, state="failed"), final(0, 0.9)))
    counted = sync(ledger, store.projection())
    assert counted == SyncResult("demo", 1, {"complete": 2, "failed": 1}, 4)
    assert len(store.runs()) == 4
    before = store.state()
    assert sync(ledger, store.projection()) == counted
    assert store.state() == before


def test_a_store_out_of_reach_is_said_in_words_without_the_password() -> None:
    told: list[str] = []
    with pytest.raises(ResourceError, match="mlflow.example cannot be reached.*same command") as e:
        sync(FakeLedger(pair()), Failing(99), told.append, pauses_s=(0.0, 0.0))
    assert len(told) == 2
    assert "secret" not in str(e.value) + "".join(told)
    assert "\n" not in str(e.value)


def test_what_may_pass_is_tried_again_and_what_cannot_is_not() -> None:
    flaky, refusing = Failing(2), Failing(99, "Invalid Host header")
    assert sync(FakeLedger(pair()), flaky, pauses_s=(0.0, 0.0)).pairs == 1
    with pytest.raises(ResourceError, match="--allowed-hosts mlflow.example"):
        sync(FakeLedger(pair()), refusing, pauses_s=(0.0, 0.0))
    assert refusing.looks == 1
