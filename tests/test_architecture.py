"""No arrow points up: the import contracts of pyproject.toml hold."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_import_contracts():
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed; pip install 'raybench[dev]'")
    script = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_nothing_below_the_command_line_prints():
    allowed = {"cli.py", "console.py"}
    printing = [
        path.name
        for path in (ROOT / "raybench").rglob("*.py")
        if "\n    print(" in path.read_text()
        and path.name not in allowed
        and path.parent.name != "verbs"
    ]
    assert printing == []
