"""``raybench sync``: the projection run once."""

from __future__ import annotations

import pytest

from raybench.errors import ResourceError
from raybench.records import SweepSnapshot
from raybench.tracking.sync import SyncResult, sync
from tests.tracking.fake_ledger import FakeLedger, final, pair, trial
from tests.tracking.mlflow_state import Store


class Refusing:
    def apply(self, snapshot: SweepSnapshot) -> None:
        raise ConnectionError("http://anna:secret@mlflow.example refused\nand a long story")


def test_sync_fills_the_store_and_counts(store: Store) -> None:
    ledger = FakeLedger(pair(trial(0, (0.5, 0.6)), trial(1, state="failed"), final(0, 0.9)))
    counted = sync(ledger, store.projection())
    assert counted == SyncResult("demo", 1, {"complete": 2, "failed": 1}, 4)
    assert len(store.runs()) == 4
    before = store.state()
    assert sync(ledger, store.projection()) == counted
    assert store.state() == before


def test_a_store_out_of_reach_is_said_in_words_without_the_password() -> None:
    with pytest.raises(ResourceError, match="out of|could not") as caught:
        sync(FakeLedger(pair()), Refusing())
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
