"""The seams of this package: where committed rows come from, and who takes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from raybench.records import SweepSnapshot


class LedgerReader(Protocol):
    """What tracking asks of the ledger. Used from one thread only."""

    def versions(self) -> Mapping[str, str]:
        """Trial key to a text that changes whenever that trial's committed rows do; cheap."""
        ...

    def snapshot(self, keys: Collection[str] | None = None) -> SweepSnapshot:
        """Header and all pairs; of their trials only ``keys`` (None: all)."""
        ...


class Projector(Protocol):
    """What the tracking thread asks of a projection."""

    def apply(self, snapshot: SweepSnapshot) -> None:
        """Send whatever the store lacks; may raise anything, and may be repeated."""
        ...
