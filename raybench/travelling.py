"""A sweep file that is checked here and run on another machine: which of its paths are where."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from raybench.backbones.index import is_weights_file
from raybench.mistakes import Mistakes
from raybench.spec import SweepSpec
from raybench.yamlio import KeyPath

Origin = dict[str, list[int]]


@dataclass(frozen=True)
class Travel:
    """How a sweep file travels: alone, or with the folder ``luggage`` that it lies in.

    Absolute paths (and ``~``) are those of the machine where it arrives.
    """

    luggage: Path | None = None

    def left_behind(
        self, spec: SweepSpec, origins: Origin, base: Path, mistakes: Mistakes
    ) -> set[str]:
        """Paths not to be looked for here; adds a mistake for each that would not arrive.

        The paths of ``spec`` are as written, relative ones to ``base``.
        """
        elsewhere = set()
        for place, text in _paths(spec, origins):
            if text.startswith(("/", "~")):
                elsewhere.add(text)
            elif problem := self._problem(text, base):
                mistakes.add(place, problem)
                elsewhere.add(text)
        return elsewhere

    def _problem(self, text: str, base: Path) -> str:
        if self.luggage is None:
            return (
                f"'{text}' is relative to the file, and only the file is sent; give an absolute "
                "path of the cluster, or --working-dir with a folder that holds both"
            )
        place = Path(os.path.normpath(base / text))
        if not place.is_relative_to(self.luggage):
            return f"'{text}' is outside of --working-dir {self.luggage}, so it is not sent"
        return ""


def _paths(spec: SweepSpec, origins: Origin) -> list[tuple[KeyPath, str]]:
    found: list[tuple[KeyPath, str]] = []
    for index, dataset in zip(origins["datasets"], spec.datasets, strict=False):
        for key, text in (("path", dataset.path), ("root", dataset.root)):
            if text is not None:
                found.append((("datasets", index, key), text))
    for index, backbone in zip(origins["backbones"], spec.backbones, strict=False):
        if is_weights_file(backbone.weights):
            found.append((("backbones", index, "weights"), backbone.weights))
    return found
