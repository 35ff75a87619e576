"""Results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from raybench.redaction import redact

PIPE_WIDTH = 112
"""Columns where stdout is no terminal: wide enough for timm's names beside their numbers."""


def tell(line: str) -> None:
    """One line of progress."""
    print(redact(line), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(renderable: Any) -> None:
    from rich.console import Console

    from raybench.report.grid import to_text

    console = Console()
    if console.is_terminal:
        console.print(renderable)
    else:
        print(to_text(renderable, PIPE_WIDTH), end="")
