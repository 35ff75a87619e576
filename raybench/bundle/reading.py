"""A bundle, opened: its members are measured before they are unpacked, all held against hashes."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Self

from raybench.bundle.layout import FORMAT, LEDGER, MANIFEST, PREDICTIONS, SPLITS
from raybench.errors import DataError, ResourceError
from raybench.joining import Source
from raybench.predictions import StoredPredictions
from raybench.snapshot_json import from_json
from raybench.version import __version__

MAX_MEMBERS = 500_000
MAX_MEMBER_BYTES = 1 << 30
MAX_RATIO = 400
"""Unpacked over packed, of members of a megabyte and more; a sweep's ledger has 20 to 100."""

_LARGE = 1 << 20
_SHOWN = 3
_INSTEAD = "give a file that 'raybench report --bundle' wrote, or a sweep's name"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error)
"""What ``zipfile`` raises where bytes are not what they were."""


def is_bundle(place: str) -> bool:
    """Whether the argument means a file, there or not, rather than a sweep's name."""
    return "/" in place or Path(place).suffix == ".zip" or Path(place).is_file()


@dataclass(frozen=True)
class _Below:
    """The bundle's members below a folder, as ``StoredPredictions`` asks for files."""

    bundle: Bundle
    folder: str

    def get(self, name: str) -> bytes:
        """Raises FileNotFoundError where there is none."""
        return self.bundle.get(f"{self.folder}/{name}")


class Bundle:
    """An open bundle. All of it is held against its hashes, also what nobody will ask for.

    Raises:
        DataError: it is not there, no bundle, damaged, changed, or packed to fill a memory.
        ResourceError: it cannot be opened, or is of another version.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with ExitStack() as stack:
            self._archive = stack.enter_context(self._zip_file())
            self._members = self._checked_members()
            self._digests, self._sweeps = self._read_manifest()
            self._check_contents()
            self._close = stack.pop_all().close

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def sources(self) -> tuple[Source, ...]:
        """Its sweeps; predictions are read while it is open."""
        return tuple(self._source(folder) for folder in self._sweeps)

    def get(self, name: str) -> bytes:
        """A member's content.

        Raises:
            FileNotFoundError: there is none of that name.
        """
        if name not in self._digests:
            raise FileNotFoundError(name)
        return self._unpacked(name)

    def _zip_file(self) -> zipfile.ZipFile:
        if self.file.is_dir():
            raise self._wrong(f"is a folder; {_INSTEAD}, with --home for the folder it lies in")
        try:
            return zipfile.ZipFile(self.file)
        except FileNotFoundError:
            raise self._wrong(f"is not there; {_INSTEAD}") from None
        except OSError as error:
            raise self._unreadable(error) from None
        except _DAMAGE as error:
            raise self._wrong(f"is damaged or no bundle ({error}); {_INSTEAD}") from None

    def _check_contents(self) -> None:
        """A megabyte at a time: a member may be larger than the memory that is left."""
        for name, digest in self._digests.items():
            with self._reading(name), self._archive.open(self._members[name]) as stream:
                found = hashlib.sha256()
                while chunk := stream.read(_LARGE):
                    found.update(chunk)
            if found.hexdigest() != digest:
                raise self._wrong(f"was changed: {name} is not what its {MANIFEST} says")

    def _source(self, folder: str) -> Source:
        ledger = f"{folder}/{LEDGER}"
        snapshot = from_json(self._json_of(ledger, self.get(ledger)))
        files = _Below(self, f"{folder}/{PREDICTIONS}")
        return Source(snapshot, StoredPredictions(files), partial(self._splits, folder))

    def _splits(self, folder: str) -> dict[str, str]:
        top = f"{folder}/{SPLITS}/"
        names = [name for name in self._digests if name.startswith(top)]
        return {PurePosixPath(name).stem: self._text(name) for name in names}

    def _read_manifest(self) -> tuple[dict[str, str], tuple[str, ...]]:
        if MANIFEST not in self._members:
            raise self._wrong(f"is damaged or no bundle (it has no {MANIFEST}); {_INSTEAD}")
        found = self._json_of(MANIFEST, self._unpacked(MANIFEST))
        try:
            if found["format"] != FORMAT:
                raise ResourceError(
                    f"{self.file} is of format {found['format']} (raybench {found['raybench']}), "
                    f"this raybench {__version__} reads format {FORMAT}"
                )
            digests = {str(name): str(digest) for name, digest in found["members"].items()}
            sweeps = tuple(map(str, found["sweeps"]))
        except (AttributeError, KeyError, TypeError) as error:
            raise self._wrong(f"has a {MANIFEST} that says nothing ({error!r})") from None
        self._compare(digests, sweeps)
        return digests, sweeps

    def _compare(self, digests: Mapping[str, str], sweeps: Sequence[str]) -> None:
        there = self._members.keys() - {MANIFEST}
        named = digests.keys() | {f"{folder}/{LEDGER}" for folder in sweeps}
        mistakes = [f"{name} is missing" for name in sorted(named - there)]
        mistakes += [f"{name} is in no list" for name in sorted(there - named)]
        if mistakes or not sweeps:
            raise self._wrong(f"is not whole: {_few(mistakes) or 'it holds no sweep'}")

    def _checked_members(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._archive.infolist()
        if len(infos) > MAX_MEMBERS:
            raise self._wrong(f"holds {len(infos):,} files, at most {MAX_MEMBERS:,} are read")
        members = {info.filename: info for info in infos}
        if len(members) < len(infos):
            raise self._wrong("holds two files of one name")
        for info in infos:
            if problem := _problem(info):
                raise self._wrong(f"is not read: {info.filename!r} {problem}")
        return members

    def _unpacked(self, name: str) -> bytes:
        with self._reading(name):
            return self._archive.read(self._members[name])

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unreadable(error) from None
        except _DAMAGE as error:
            raise self._wrong(f"is damaged: {name}: {error}") from None

    def _text(self, name: str) -> str:
        try:
            return self.get(name).decode()
        except UnicodeDecodeError as error:
            raise self._wrong(f"is damaged: {name}: {error}") from None

    def _json_of(self, name: str, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"is damaged: {name}: {error}") from None

    def _wrong(self, why: str) -> DataError:
        return DataError(f"{self.file} {why}")

    def _unreadable(self, error: OSError) -> ResourceError:
        return ResourceError(f"{self.file} cannot be read: {error.strerror or error}")


def _few(sentences: Sequence[str]) -> str:
    """Three of them, and how many more there are."""
    more = [f"and {len(sentences) - _SHOWN:,} more"] if len(sentences) > _SHOWN else []
    return "; ".join([*sentences[:_SHOWN], *more])


def _problem(info: zipfile.ZipInfo) -> str:
    """What is wrong with a member before it is unpacked, in words; empty: nothing."""
    place = PurePosixPath(info.filename)
    if place.is_absolute() or ".." in place.parts or "\\" in info.filename:
        return "names a place outside of it"
    if info.file_size > MAX_MEMBER_BYTES:
        return f"would take {info.file_size:,} bytes, at most {MAX_MEMBER_BYTES:,} are read"
    if info.file_size > max(_LARGE, MAX_RATIO * info.compress_size):
        return f"would unpack to {info.file_size:,} bytes from {info.compress_size:,}"
    return "is encrypted" if info.flag_bits & 1 else ""
