"""Mistakes in a sweep file, each with its line and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from raybench.yamlio import KeyPath


class Mistakes:
    """Sentences with the line and path of their key, in the order of the file."""

    FROM_SET = -1  # the line of a key that ``--set`` gave

    def __init__(self, lines: dict[KeyPath, int], source: str) -> None:
        self._lines, self._source = lines, source
        self._found: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._found)

    @property
    def sentences(self) -> list[str]:
        return [sentence for _, sentence in sorted(self._found, key=lambda found: found[0])]

    def add(self, path: KeyPath, text: str) -> None:
        line = next(
            (self._lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self._lines), 0
        )
        parts = [self._source] if self._source else []
        if line:
            parts = ["--set"] if line == self.FROM_SET else [f"{self._source}:{line}"]
        parts += [".".join(str(part) for part in path)] if path else []
        self._found.append((line, ": ".join([*parts, text])))

    def add_all(self, path: KeyPath, texts: Iterable[str]) -> None:
        for text in texts:
            self.add(path, text)


def nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known are {', '.join(names)}"
