"""Archives from elsewhere, unpacked without trusting them: aside, bounded, then renamed.

A member that would leave the folder, a link, a device or a name that comes twice condemns the whole
archive: none of the published sets has any, so such an archive is not what it says.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

from raybench.errors import ResourceError

MAX_FILES = 2_000_000
MAX_BYTES = 200 * 10**9
_CHUNK_BYTES = 1 << 20
_TOLD_EVERY = 20_000
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # an unknown way of compression
    RuntimeError,  # encrypted
    ValueError,  # a name with a zero byte
)


class DamagedArchive(Exception):
    """The archive is broken, or is none, or holds what it must not hold."""


def unpack(archive: Path, folder: Path, tell: Callable[[str], None] = lambda text: None) -> None:
    """Make ``folder`` hold the files of ``archive`` (zip, tar, gzipped tar): all or nothing.

    A folder that another process has made meanwhile stays.

    Raises:
        DamagedArchive: why nothing was unpacked.
        ResourceError: the files cannot be written, or there is no room for them.
    """
    aside = folder.with_name(f".unpacking-{folder.name}-{uuid.uuid4().hex[:8]}")
    tell(f"{archive.name}: unpacking")
    try:
        aside.mkdir(parents=True)
        _write_members(archive, aside, tell)
        _put(aside, folder)
    except _DAMAGE as error:
        raise DamagedArchive(f"{archive} is damaged or no archive ({error})") from error
    except OSError as error:
        raise ResourceError(
            f"{archive} cannot be unpacked into {folder.parent}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _put(aside: Path, folder: Path) -> None:
    try:
        aside.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _write_members(archive: Path, aside: Path, tell: Callable[[str], None]) -> None:
    room = min(MAX_BYTES, shutil.disk_usage(aside).free)
    written = count = 0
    with ExitStack() as stack:
        for name, source in _members(archive, stack):
            target = aside / _inside(archive, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise DamagedArchive(f"{archive} holds '{name}' twice")
            with target.open("xb") as file:
                while chunk := source.read(_CHUNK_BYTES):
                    written += len(chunk)
                    if written > room:
                        raise _too_large(archive, room)
                    file.write(chunk)
            count += 1
            if count > MAX_FILES:
                raise DamagedArchive(f"{archive} holds more than {MAX_FILES:,} files")
            if count % _TOLD_EVERY == 0:
                tell(f"{archive.name}: {count:,} files unpacked")


def _too_large(archive: Path, room: int) -> Exception:
    if room == MAX_BYTES:
        return DamagedArchive(f"{archive} unpacks to more than {MAX_BYTES / 1e9:.0f} GB")
    return ResourceError(
        f"{archive} cannot be unpacked: it needs more than the {room / 1e9:.1f} GB that are free "
        f"in {archive.parent}; make room, or set RAYBENCH_CACHE to a larger disk"
    )


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        raise DamagedArchive(f"{archive} holds '{name}', which leads out of its folder")
    return path


def _members(archive: Path, stack: ExitStack) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of all files, in the archive's order."""
    if archive.suffix == ".zip":
        zipped = stack.enter_context(zipfile.ZipFile(archive))
        for info in zipped.infolist():
            if info.is_dir():
                continue
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise DamagedArchive(f"{archive} holds '{info.filename}', which is no plain file")
            with zipped.open(info) as file:
                yield info.filename, file
        return
    tar = stack.enter_context(tarfile.open(archive, "r:*"))
    for member in tar:
        if member.isdir():
            continue
        content = tar.extractfile(member) if member.isfile() else None
        if content is None:
            raise DamagedArchive(f"{archive} holds '{member.name}', which is no plain file")
        with content:
            yield member.name, content
    while tar.fileobj and tar.fileobj.read(_CHUNK_BYTES):  # gzip checks its sum at the very end
        pass
