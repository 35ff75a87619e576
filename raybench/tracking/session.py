"""One connection between ledger and MLflow: what has been seen, what is still to be sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from raybench.tracking.reader import LedgerReader, Projector


class Session:
    """One reader, one projection and the versions it has seen; thrown away after an error.

    Attributes:
        has_looked: the store has answered.
        lacking: keys of the runs that are still to be sent, of ``total``.

    Args:
        on_sent: hears how many are lacking, of how many: at first and after each run. It may raise.
    """

    def __init__(
        self,
        reader: LedgerReader,
        projection: Projector,
        on_sent: Callable[[int, int], None] = lambda lacking, total: None,
    ) -> None:
        self._reader = reader
        self._projection = projection
        self._seen: Mapping[str, str] | None = None
        self._on_sent = on_sent
        self.has_looked = False
        self.lacking: set[str] = set()
        self.total = 0

    def project(self, *, to_the_end: bool) -> None:
        """Send the trials that changed.

        Args:
            to_the_end: also pairs whose state alone did; and look again, whether each run is there
                once and still ours: another writer (``sync`` beside a running sweep), or a request
                that was heard although its answer was lost, may have made a second one.
        """
        if self._seen is None:
            self._look()
            self._apply_all()
        else:
            self._apply_changed(self._seen, header_too=to_the_end)
        if to_the_end and not self._look():
            self._apply_all()

    def _look(self) -> bool:
        as_left = self._projection.look(self._reader.snapshot(()))
        self.has_looked = True
        return as_left

    def _apply_all(self) -> None:
        versions = dict(self._reader.versions())
        self._apply(None, versions)
        self._seen = versions

    def _apply_changed(self, seen: Mapping[str, str], *, header_too: bool) -> None:
        versions = dict(self._reader.versions())
        changed = {key for key, version in versions.items() if seen.get(key) != version}
        if changed or header_too:
            self._apply(changed | _finals_beside(changed, versions), versions)
        self._seen = versions

    def _apply(self, keys: Collection[str] | None, versions: Mapping[str, str]) -> None:
        snapshot = self._reader.snapshot(keys)
        pairs = {pair.id for pair in snapshot.pairs}
        self.lacking = {trial.key for pair in snapshot.pairs for trial in pair.trials} | pairs
        self.total = len(versions) + len(pairs)
        self._on_sent(len(self.lacking), self.total)
        self._projection.apply(snapshot, self._sent)

    def _sent(self, key: str) -> None:
        self.lacking.discard(key)
        self._on_sent(len(self.lacking), self.total)


def _finals_beside(changed: Collection[str], versions: Collection[str]) -> set[str]:
    """Finals of the changed trials' pairs: a new winner replaces them without touching a row."""
    pairs = {key.rsplit("/", 2)[0] for key in changed}
    return {key for key in versions if "/final/" in key and key.rsplit("/", 2)[0] in pairs}
