"""Files that people keep: written aside, fsynced, renamed, so that a reader never sees half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from raybench.errors import HomeError
from raybench.settings import current_umask


def write_text(file: Path, text: str) -> Path:
    """``write_bytes`` of ``text`` as UTF-8, line ends as they are."""
    return write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> Path:
    """Writes ``content`` in one step and returns ``file``; makes its folder.

    Raises:
        HomeError: the place cannot be written.
    """
    with written_aside(file) as stream:
        stream.write(content)
    return file


@contextmanager
def written_aside(file: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes ``file``, all of it, once the block ends without an error.

    Raises:
        HomeError: the place cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".", delete=False) as aside:
            temporary = Path(aside.name)
        try:
            with temporary.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~current_umask())
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise HomeError(f"{file} cannot be written: {error.strerror or error}") from error
