"""Files that people keep: written aside, fsynced, renamed, so that a reader never sees half."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from raybench.errors import HomeError
from raybench.settings import current_umask


def write_text(file: Path, text: str) -> Path:
    """Writes ``text`` as UTF-8 in one step and returns ``file``; makes its folder.

    Raises:
        HomeError: the place cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="", dir=file.parent, prefix=".", delete=False
        ) as aside:
            temporary = Path(aside.name)
        _fill_and_rename(temporary, file, text)
    except OSError as error:
        raise HomeError(f"{file} cannot be written: {error.strerror or error}") from error
    return file


def _fill_and_rename(temporary: Path, file: Path, text: str) -> None:
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~current_umask())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
