"""A ledger in memory: the tests' source of committed rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from raybench.records import EndRecord, EpochRecord, PairRow, SweepSnapshot, TrialRow

START = 1_700_000_000.0
LEDGER = "1edce12a" * 4


def epoch(number: int, accuracy: float, metrics: int = 2) -> EpochRecord:
    """An epoch that ends ``number`` seconds after the start."""
    values = {f"val/extra_{i}": accuracy * i for i in range(metrics)}
    return EpochRecord(
        epoch=number,
        stage=0,
        lr=1e-3 / number,
        finished_at=START + number + accuracy / 7,
        duration_s=0.9,
        device_share=0.5,
        attempt=1,
        metrics={"val/accuracy": accuracy, "val/nll": 1 - accuracy, **values},
    )


def trial(number: int, accuracies: tuple[float, ...] = (), **changes: Any) -> TrialRow:
    """A search trial of pair ``p``, complete with its end unless ``changes`` say otherwise."""
    epochs = tuple(epoch(n, a) for n, a in enumerate(accuracies, start=1))
    best = max(epochs, key=lambda e: e.metrics["val/accuracy"], default=None)
    end = EndRecord(
        state="complete",
        finished_at=START + 100 + number,
        best_epoch=best.epoch if best else None,
        best=dict(best.metrics) if best else {},
        facts={"parameters": 1000.0, "device": "cpu"},
    )
    row = TrialRow("p", "search", number, "complete", {"lr": 1e-3 * (number + 1)}, epochs, end)
    return dataclasses.replace(row, **changes)


def final(seed: int, test_accuracy: float, **end: Any) -> TrialRow:
    """A complete final trial of the tuned configuration; its number is its seed."""
    row = trial(seed, (0.5, 0.8))
    assert row.end is not None
    ended = dataclasses.replace(
        row.end, test={"test/accuracy": test_accuracy}, finished_at=START + 300 + seed, **end
    )
    return dataclasses.replace(
        row, phase="final", seed=seed, configs=("tuned",), source=0, end=ended
    )


def with_weights(row: TrialRow) -> TrialRow:
    """As ``row``, with kept weights: the file that the fixture ``kept_weights`` makes."""
    assert row.end is not None
    path = f"p/{row.number}/best.safetensors"
    end = dataclasses.replace(row.end, weights_path=path, weights_sha256="ab")
    return dataclasses.replace(row, end=end)


def pair(*trials: TrialRow, **changes: Any) -> PairRow:
    """Pair ``p``: resnet18 on digits."""
    row = PairRow(
        id="p",
        backbone="resnet18 [none]",
        dataset="digits",
        subset="full",
        state="searching",
        quota=3,
        default_params={"lr": 1e-3},
        final_seeds=(0, 1),
        final_configs=("tuned",),
        trials=trials,
        facts={"classes": 10, "data_digest": "d" * 64, "domain": "handwriting"},
        backbone_spec={"name": "torchvision:resnet18", "weights": "none", "kwargs": {}},
    )
    return dataclasses.replace(row, **changes)


class FakeLedger:
    """Both sides: tests ``put`` rows, tracking reads them."""

    def __init__(self, *pairs: PairRow, sweep: str = "demo", ledger_id: str = LEDGER) -> None:
        self.pairs = {p.id: p for p in pairs}
        self.sweep, self.ledger_id = sweep, ledger_id
        self.snapshots: list[Collection[str] | None] = []

    def put(self, trial_row: TrialRow, **pair_changes: Any) -> None:
        """Add or replace one trial, and change the pair's row."""
        old = self.pairs[trial_row.pair_id]
        rows = {t.key: t for t in old.trials} | {trial_row.key: trial_row}
        self.pairs[old.id] = dataclasses.replace(old, trials=tuple(rows.values()), **pair_changes)

    def versions(self) -> Mapping[str, str]:
        return {t.key: repr(t) for p in self.pairs.values() for t in p.trials}

    def snapshot(self, keys: Collection[str] | None = None) -> SweepSnapshot:
        self.snapshots.append(keys)
        pairs = tuple(
            dataclasses.replace(
                p, trials=tuple(t for t in p.trials if keys is None or t.key in keys)
            )
            for p in self.pairs.values()
        )
        spec = {"name": self.sweep, "recipe": {"image_size": 32}}
        return SweepSnapshot(
            self.sweep, "a demo", 1, "val/accuracy", spec, pairs, ledger_id=self.ledger_id
        )
