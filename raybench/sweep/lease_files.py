"""The lease on a network file system: a chain of files, each made by exactly one driver.

SQLite's locks are only as good as the file system's, and some have none that hold between hosts. A
name that is linked (or created exclusively) exists once on all of them: who makes
``leases/<sweep>/<attempt>.json`` owns that attempt, and whoever owned an earlier one has lost it.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from raybench.errors import HomeError
from raybench.sweep.file_system import network_type

FOLDER = "leases"


@dataclass(frozen=True, slots=True)
class LeaseFiles:
    """Those of one sweep. What the file system refuses, every method tells as ``HomeError``."""

    folder: Path

    @classmethod
    def beside(cls, ledger: Path | None, sweep: str) -> LeaseFiles | None:
        """None where they are not needed: on a local disk, and beside a server."""
        if ledger is None or network_type(ledger) is None:
            return None
        return cls(ledger.parent / FOLDER / sweep)

    def newest(self) -> tuple[int, str | None]:
        """The last attempt (0: none yet) and its owner as it was written; None while unreadable."""
        attempt = self._last()
        try:
            return attempt, json.dumps(json.loads(self._path(attempt).read_text()))
        except (OSError, ValueError):
            return attempt, None

    def take(self, attempt: int, owner: str) -> bool:
        """Make the attempt ours; False where another driver was faster."""
        with _in_words(self.folder):
            return self._take(attempt, owner)

    def _take(self, attempt: int, owner: str) -> bool:
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
        return self._last() <= attempt

    def release(self, attempt: int) -> None:
        """Say that the attempt's driver has ended."""
        with suppress(OSError):  # its owner is seen to be gone, or is watched for a while
            (self.folder / f"{attempt:06d}.released").touch()

    def holder(self) -> str | None:
        """The owner of the last attempt, if it has not been given back."""
        attempt, owner = self.newest()
        return None if f"{attempt:06d}.released" in self._names() else owner

    def _last(self) -> int:
        """The last attempt; 0: none yet."""
        stems = [name.removesuffix(".json") for name in self._names() if name.endswith(".json")]
        return max((int(stem) for stem in stems if stem.isdecimal()), default=0)

    def _names(self) -> list[str]:
        """Listed, since opening a folder asks the server, while NFS keeps for a minute that a name
        was not there.
        """
        with _in_words(self.folder):
            try:
                return [path.name for path in self.folder.iterdir()]
            except FileNotFoundError:  # nobody has taken the sweep yet
                return []

    def _path(self, attempt: int) -> Path:
        return self.folder / f"{attempt:06d}.json"


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HomeError(
            f"{error.strerror or error}: the lease in {folder} cannot be read or written; see that "
            "its file server answers and give the same command again: what is committed is kept"
        ) from error


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
