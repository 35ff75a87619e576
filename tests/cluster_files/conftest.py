"""A folder in which ``ray up`` could be called, and a home with a token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster_files.files import ROOT

WriteFile = Callable[[str], Path]


@pytest.fixture
def write_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteFile:
    """Writes a cluster file where everything that it mounts is beside it."""
    token = tmp_path / "home" / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.write_text("token")
    token.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "checkout"
    folder.mkdir()
    for path in ROOT.iterdir():
        if not path.name.startswith("."):
            (folder / path.name).symlink_to(path)

    def write(text: str) -> Path:
        file = folder / "mine.yaml"
        file.write_text(text)
        return file

    return write
