"""The lease on a network file system: a chain of files, each made by exactly one driver.

SQLite's locks are only as good as the file system's, and some have none that hold between hosts. A
name that is linked (or created exclusively) exists once on all of them: who makes
``leases/<sweep>/<attempt>.json`` owns that attempt, and whoever owned an earlier one has lost it.
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from raybench.sweep.file_system import network_type

FOLDER = "leases"


@dataclass(frozen=True, slots=True)
class LeaseFiles:
    """Those of one sweep."""

    folder: Path

    @classmethod
    def beside(cls, ledger: Path | None, sweep: str) -> LeaseFiles | None:
        """None where they are not needed: on a local disk, and beside a server."""
        if ledger is None or network_type(ledger) is None:
            return None
        return cls(ledger.parent / FOLDER / sweep)

    def newest(self) -> tuple[int, str | None]:
        """The last attempt (0: none yet) and its owner as it was written; None while unreadable."""
        found = [int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdecimal()]
        attempt = max(found, default=0)
        try:
            return attempt, json.dumps(json.loads(self._path(attempt).read_text()))
        except (OSError, ValueError):
            return attempt, None

    def take(self, attempt: int, owner: str) -> bool:
        """Make the attempt ours; False where another driver was faster."""
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{uuid.uuid4().hex}"
        with aside.open("w") as file:
            file.write(owner)
            file.flush()
            os.fsync(file.fileno())
        try:
            return self._link(aside, self._path(attempt), owner)
        finally:
            aside.unlink()

    def _link(self, aside: Path, target: Path, owner: str) -> bool:
        try:
            os.link(aside, target)
        except FileExistsError:
            # An answer of the file server was lost, perhaps: what counts is how often it is linked.
            return aside.stat().st_nlink == 2
        except OSError:  # no hard links here
            return _create(target, owner)
        return True

    def is_newest(self, attempt: int) -> bool:
        """Whether nobody has taken the next one. Asked at every commit, hence one look only."""
        return not self._path(attempt + 1).exists()

    def release(self, attempt: int) -> None:
        """Say that the attempt's driver has ended."""
        with suppress(OSError):  # its owner is seen to be gone, or is watched for a while
            (self.folder / f"{attempt:06d}.released").touch()

    def holder(self) -> str | None:
        """The owner of the last attempt, if it has not been given back."""
        attempt, owner = self.newest()
        is_released = (self.folder / f"{attempt:06d}.released").exists()
        return None if is_released else owner

    def _path(self, attempt: int) -> Path:
        return self.folder / f"{attempt:06d}.json"


def _create(target: Path, owner: str) -> bool:
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(owner)
        file.flush()
        os.fsync(file.fileno())
    return True
