"""The seams of this package: where committed rows come from, and who takes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
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
    """What tracking asks of a projection; any call may raise anything, and may be repeated."""

    @property
    def tracking_uri(self) -> str:
        """Where it goes, for messages."""
        ...

    def look(self, header: SweepSnapshot) -> bool:
        """See what the store holds; True when it is what this projection has left there."""
        ...

    def apply(self, snapshot: SweepSnapshot, sent: Callable[[str], None]) -> None:
        """Send whatever the store lacks, telling the key of each run (trial or pair) when done."""
        ...
