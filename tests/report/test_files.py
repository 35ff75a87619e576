"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raybench.errors import HomeError
from raybench.report.files import write_text


def test_writes_exactly_the_text_and_makes_the_folder(tmp_path: Path) -> None:
    file = write_text(tmp_path / "new" / "report.html", "é\r\n\n")
    assert file.read_bytes() == "é\r\n\n".encode()
    assert list(file.parent.iterdir()) == [file]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    assert write_text(tmp_path / "report", "x").stat().st_mode == plain.stat().st_mode


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_text(tmp_path / "report", "old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(HomeError, match="report cannot be written: No space left on device"):
        write_text(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeError, match="file/report.html cannot be written"):
        write_text(tmp_path / "file" / "report.html", "x")
