"""What trials leave on disk, as the driver deals with it: the best weights stay, the rest goes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from raybench.records import EndRecord, Phase, TrialRow
from raybench.spec import SweepSpec
from raybench.sweep.ledger import TrialKey
from raybench.sweep.progress import TERMINAL
from raybench.sweep.retries import TAKEN_UP_AGAIN, is_owed_again
from raybench.trial.checkpoint import collect, tidy

logger = logging.getLogger(__name__)


def checkpoint_folder(sweep: str, key: TrialKey) -> str:
    """A trial's folder, relative to the checkpoint root."""
    pair, phase, number = key
    return f"{sweep}/{pair}/{phase}-{number}"


def keeps_weights(spec: SweepSpec, phase: Phase) -> bool:
    """Whether a trial's best weights outlive it; ``keep: winners`` are the finals'."""
    return spec.keep == "all" or phase == "final"


@dataclass(frozen=True)
class TrialFiles:
    """The trials' folders of one sweep, for the driver's ``attempt``."""

    root: Path
    spec: SweepSpec
    attempt: int
    _ended: dict[TrialKey, EndRecord] = field(default_factory=dict)
    """In this attempt."""

    def best_weights(self, key: TrialKey, retry: int) -> tuple[str, str] | None:
        """Path below the root and SHA-256 of the best weights of a trial that is stopped early."""
        if not keeps_weights(self.spec, key[1]):
            return None
        return collect(self.root, checkpoint_folder(self.spec.name, key), (self.attempt, retry))

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
        for row in rows:
            if row.end is not None and row.state in TERMINAL and not is_owed_again(row):
                self._tidy((row.pair_id, row.phase, row.number), row.end)

    def _tidy(self, key: TrialKey, end: EndRecord) -> None:
        named = {self.root / path for path in (end.weights_path, end.predictions_path) if path}
        folder = self.root / checkpoint_folder(self.spec.name, key)
        try:
            tidy(folder, self.attempt, named)
        except OSError as error:  # a folder that stays costs space, and nothing else
            logger.warning("checkpoints of %s are left behind: %s", "/".join(map(str, key)), error)
