"""What trials need of a device: measured once per home and kept for all of its sweeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from raybench.measurements import Footprint
from raybench.plan import Pair
from raybench.spec import SweepSpec
from raybench.sweep.database import write_transaction
from raybench.sweep.lease import Lease
from raybench.sweep.packing import Fit
from raybench.sweep.patience import Patience
from raybench.sweep.tables import footprints

LEAST_CLASSES = 1024
"""Up to here the classifier's memory is lost in that of the network, and one measurement does."""
TOO_LARGE = -1.0


@dataclass(frozen=True, slots=True)
class Known:
    """One row: what was measured, if anything, and what has turned out to be too little.

    ``least``: the smallest share (CPU: gigabytes) that did not run out of memory; 0: nothing has;
    ``TOO_LARGE``: not even a whole device is enough.
    """

    footprint: Footprint | None
    least: float = 0.0
    accumulation: int = 1

    @property
    def too_large(self) -> bool:
        return self.least == TOO_LARGE


class Footprints:
    """Reads and writes the home's table, fenced by the driver's lease."""

    def __init__(self, engine: sa.Engine, lease: Lease) -> None:
        self._engine, self._lease, self._patience = engine, lease, Patience(engine)

    def read(self, keys: Collection[str]) -> dict[str, Known]:
        query = sa.select(footprints).where(footprints.c.key.in_(list(keys)))
        with self._engine.connect() as connection:
            return {row.key: _known(row) for row in connection.execute(query)}

    def write(self, key: str, footprint: Footprint) -> None:
        """Keep a measurement."""
        self._put(key, content=json.dumps(footprint.to_dict(), allow_nan=False))

    def write_too_large(self, key: str) -> None:
        """Keep that nothing fits."""
        self._put(key, least_share=TOO_LARGE)

    def remember(self, fit: Fit) -> None:
        """Keep what a trial needs after one has run out of memory with less.

        Smaller micro-batches than ``--max-gpus`` alone has asked for are not worth remembering.
        """
        shape = fit.shape
        self._put(fit.key, least_share=shape.gpus or shape.memory_gb)
        if shape.gpus in (0, 1):
            self._put(fit.key, accumulation=fit.accumulation)

    def _put(self, key: str, **values: str | float) -> None:
        try:
            self._patience(lambda: self._put_once(key, values))
        except sa.exc.IntegrityError:  # another sweep's driver has just made the row
            self._patience(lambda: self._put_once(key, values))

    def _put_once(self, key: str, values: dict[str, str | float]) -> None:
        where = footprints.c.key == key
        with write_transaction(self._engine) as connection:
            self._lease.fence(connection)
            if connection.execute(footprints.update().where(where).values(**values)).rowcount == 0:
                row: dict[str, str | float] = {"content": "null", "least_share": 0.0}
                row |= {"accumulation": 1} | values
                connection.execute(footprints.insert().values(key=key, **row))


def _known(row: Any) -> Known:
    content = json.loads(row.content)
    measured = None if content is None else Footprint.from_dict(content)
    parts = 1 if measured is None else measured.accumulation
    return Known(measured, row.least_share, max(parts, row.accumulation))


def footprint_key(spec: SweepSpec, pair: Pair, device: str, classes: int) -> str:
    """Digest of everything that memory and time of a training step depend on.

    ``device`` is the name of its kind, ``classes`` those of the pair's data set.
    """
    recipe = spec.recipe
    identity = {
        "backbone": pair.backbone.model_dump(mode="json", exclude={"weights"}),
        "device": device,
        "method": recipe.method,
        "image_size": recipe.image_size,
        "batch_size": spec.largest_batch,
        "precision": recipe.precision,
        "optimizers": sorted({stage.optimizer for stage in recipe.stages}),
        "model_ema": recipe.model_ema is not None,
        "classes": rounded_classes(classes),
        "threads": spec.resources.cpus,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def rounded_classes(classes: int) -> int:
    """At least ``LEAST_CLASSES``, else the next power of two."""
    return max(LEAST_CLASSES, 1 << max(classes - 1, 0).bit_length())
