"""What trials leave behind, as the driver deals with it: the best weights stay, the rest goes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from raybench.errors import ResourceError
from raybench.records import EndRecord, Phase, TrialRow
from raybench.settings import Settings
from raybench.spec import SweepSpec
from raybench.storage import Store
from raybench.sweep.ledger import TrialKey
from raybench.sweep.progress import TERMINAL
from raybench.sweep.retries import TAKEN_UP_AGAIN, is_owed_again
from raybench.sweep.stored_trials import by_trial, collect_stored, tidy_stored
from raybench.trial.checkpoint import collect, tidy

logger = logging.getLogger(__name__)
DRIVER_PATIENCE_S = 10.0


def checkpoint_folder(sweep: str, key: TrialKey) -> str:
    """A trial's folder, relative to the checkpoint root."""
    pair, phase, number = key
    return f"{sweep}/{pair}/{phase}-{number}"


def checkpoints_for_driver(settings: Settings) -> Path | Store:
    """The root of all checkpoints; a store that is away must not hold up the driver for long."""
    if settings.storage_url is None:
        return settings.checkpoint_root
    return Store(settings.checkpoints, DRIVER_PATIENCE_S)


def keeps_weights(spec: SweepSpec, phase: Phase) -> bool:
    """Whether a trial's best weights outlive it; ``keep: winners`` are the finals'."""
    return spec.keep == "all" or phase == "final"


@dataclass(frozen=True)
class TrialFiles:
    """The trials' folders of one sweep, for the driver's ``attempt``.

    ``root``: of all checkpoints, a folder or an object store.
    """

    root: Path | Store
    spec: SweepSpec
    attempt: int
    _ended: dict[TrialKey, EndRecord] = field(default_factory=dict)
    """In this attempt."""

    def best_weights(self, key: TrialKey, retry: int) -> tuple[str, str] | None:
        """Path below the root and SHA-256 of the best weights of a trial that is stopped early.

        Raises:
            OSError: they cannot be written.
        """
        if not keeps_weights(self.spec, key[1]):
            return None
        folder, life = checkpoint_folder(self.spec.name, key), (self.attempt, retry)
        if isinstance(self.root, Store):
            try:
                return collect_stored(self.root, folder, life)
            except ResourceError as error:
                raise ConnectionError(str(error)) from error
        return collect(self.root, folder, life)

    def tidy(self, key: TrialKey, end: EndRecord) -> None:
        """Remove what ``end`` does not name, once the ledger has it.

        What the next attempt may take up keeps its checkpoints; ``tidy_all`` knows when it is over.
        """
        if end.failure not in TAKEN_UP_AGAIN:
            self._ended[key] = end
            self._tidy(key, end)

    def tidy_again(self) -> None:
        """At the end of the attempt: a worker that everybody took for dead may have gone on."""
        for key, end in self._ended.items():
            self._tidy(key, end)

    def tidy_all(self, rows: Iterable[TrialRow]) -> None:
        """What an earlier attempt had no time for, or wrote when it was no longer the owner."""
        there = self._listed()
        for row in rows:
            if row.end is not None and row.state in TERMINAL and not is_owed_again(row):
                self._tidy((row.pair_id, row.phase, row.number), row.end, there)

    def _listed(self) -> dict[str, list[str]] | None:
        """All that the sweep has on its store, in one look, by trial; None in a folder."""
        if not isinstance(self.root, Store):
            return None
        try:
            return by_trial(self.root.sizes(self.spec.name))
        except ResourceError as error:
            logger.warning("checkpoints are left behind: %s", error)
            return {}

    def _tidy(
        self, key: TrialKey, end: EndRecord, listed: dict[str, list[str]] | None = None
    ) -> None:
        named = [path for path in (end.weights_path, end.predictions_path) if path]
        folder = checkpoint_folder(self.spec.name, key)
        try:
            if isinstance(self.root, Store):
                there = self.root.sizes(folder) if listed is None else listed.get(folder, ())
                tidy_stored(self.root, folder, self.attempt, named, there)
            else:
                tidy(self.root / folder, self.attempt, {self.root / path for path in named})
        except (OSError, ResourceError) as error:  # what stays costs space, and nothing else
            logger.warning("checkpoints of %s are left behind: %s", "/".join(map(str, key)), error)
