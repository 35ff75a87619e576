"""Which images a sweep ran on and how they were split, as its ledger keeps it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from raybench.datasets.manifest import Manifest
from raybench.records import SweepSnapshot
from raybench.sweep.soundness import telling_damage
from raybench.sweep.tables import manifests


def read_splits(engine: Engine, snapshot: SweepSnapshot) -> dict[str, str]:
    """``<data set>-<digest>`` -> ``Manifest.text``, of every manifest that a pair ran on.

    Raises:
        HomeError: the ledger is damaged.
    """
    wanted = {str(pair.facts.get("manifest_digest")) for pair in snapshot.pairs}
    query = sa.select(manifests).where(manifests.c.sweep == snapshot.sweep)
    with telling_damage(engine), engine.connect() as connection:
        return {
            f"{row.dataset}-{row.digest[:12]}": Manifest.from_bytes(row.content).text
            for row in connection.execute(query)
            if row.digest in wanted
        }
