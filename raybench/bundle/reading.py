"""A bundle, opened: each member is measured before it is unpacked, then held against its hash."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
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


def is_bundle(place: str) -> bool:
    """Whether the argument means a file rather than a sweep's name."""
    path = Path(place)
    return "/" in place or path.suffix == ".zip" or (path.is_file() and zipfile.is_zipfile(path))


@dataclass(frozen=True)
class _Below:
    """The bundle's members below a folder, as ``StoredPredictions`` asks for files."""

    bundle: Bundle
    folder: str

    def get(self, name: str) -> bytes:
        """Raises FileNotFoundError where there is none."""
        return self.bundle.get(f"{self.folder}/{name}")


class Bundle:
    """An open bundle. What is read is first held against its hash.

    Raises:
        DataError: it is no bundle, damaged, changed, or packed to fill a memory.
        ResourceError: it cannot be opened, or is of another version.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with ExitStack() as stack:
            try:
                self._archive = stack.enter_context(zipfile.ZipFile(file))
            except zipfile.BadZipFile as error:
                raise self._wrong(f"is no zip file ({error})") from None
            except OSError as error:
                raise ResourceError(f"{file} cannot be read: {error.strerror or error}") from None
            self._members = self._checked_members()
            self._digests, self._sweeps = self._read_manifest()
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
            FileNotFoundError: there is none of that name. DataError: it is damaged or changed.
        """
        if name not in self._digests:
            raise FileNotFoundError(name)
        content = self._unpacked(name)
        if hashlib.sha256(content).hexdigest() != self._digests[name]:
            raise self._wrong(f"was changed: {name} is not what its {MANIFEST} says")
        return content

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
            raise self._wrong(f"has no {MANIFEST}; give one that 'raybench report --bundle' wrote")
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
            shown = "; ".join(mistakes[:5]) or "it holds no sweep"
            raise self._wrong(f"is not whole: {shown}")

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
        try:
            return self._archive.read(self._members[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise self._wrong(f"is damaged: {name}: {error}") from None
        except OSError as error:
            raise ResourceError(f"{self.file} cannot be read: {error.strerror or error}") from None

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
