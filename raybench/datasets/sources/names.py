"""What may stand under ``source:``: ``hf:ORG/NAME[/CONFIG][@REVISION]`` or ``medmnist:NAME``.

Nothing heavy is imported, nothing is asked of a hub.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybench.datasets.listing import some
from raybench.spec import DatasetSpec

HUB, MEDMNIST = "hf:", "medmnist:"
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_HUB_NAME = re.compile(
    rf"hf:(?P<repo>{_PART}/{_PART})(?:/(?P<config>[A-Za-z0-9._ +-]+))?(?:@(?P<revision>[^\s@]+))?\Z"
)
# MedMNIST 3.0's sets of flat images with one class each; a test holds them equal to the package's.
MEDMNIST_NAMES = (
    "bloodmnist",
    "breastmnist",
    "dermamnist",
    "octmnist",
    "organamnist",
    "organcmnist",
    "organsmnist",
    "pathmnist",
    "pneumoniamnist",
    "retinamnist",
    "tissuemnist",
)
MEDMNIST_SIZES = (28, 64, 128, 224)


@dataclass(frozen=True, slots=True)
class HubName:
    """A data set on the Hugging Face hub; ``revision`` is a branch, a tag or a commit."""

    repo: str
    config: str | None
    revision: str | None

    @property
    def commit(self) -> str | None:
        """The revision where it is a whole commit already, and needs no resolving."""
        whole = self.revision and re.fullmatch(r"[0-9a-f]{40}", self.revision)
        return self.revision if whole else None


@dataclass(frozen=True, slots=True)
class MedmnistName:
    """One of MedMNIST's sets, at one of its sizes in pixels."""

    name: str
    size: int

    @property
    def suffix(self) -> str:
        """What MedMNIST appends to file names and keys: nothing for 28 pixels."""
        return "" if self.size == 28 else f"_{self.size}"


def is_source(text: str) -> bool:
    """Whether a data set's name is really the text of a source."""
    return text.startswith((HUB, MEDMNIST))


def source_entry(text: str) -> tuple[str, str]:
    """``(name, source)`` for a source that stands where a name is expected.

    The name is what is left readable of it: ``hf:org/beans@v1`` becomes ``beans``.
    """
    path = text.partition(":")[2].partition("@")[0]
    parts = path.split("/")[1 if text.startswith(HUB) else 0 :]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts)).strip("._-")[:64]
    return name or "unnamed", text


def source_mistakes(spec: DatasetSpec) -> list[str]:
    """What is wrong with ``source:`` and with the keys beside it, one sentence each."""
    mistakes = []
    name: HubName | MedmnistName | None = None
    try:
        name = parse_source(spec.source or "")
    except ValueError as error:
        mistakes.append(str(error))
    if spec.path is not None:
        return [*mistakes, "source and path both say where the images are; keep one"]
    keys = ["root", "group_by", *(["columns"] if isinstance(name, MedmnistName) else [])]
    given = [key for key in keys if getattr(spec, key) is not None]
    if given:
        verb = "needs" if len(given) == 1 else "need"
        mistakes.append(f"{some(given)} {verb} a `path:`, which a `source:` has not")
    if isinstance(name, HubName) and spec.columns and spec.columns.split:
        mistakes.append("columns.split: the splits of a hub data set are those it is published in")
    return mistakes


def parse_source(text: str) -> HubName | MedmnistName:
    """The source as a value.

    Raises:
        ValueError: in words, what is wrong with the text.
    """
    if text.startswith(HUB):
        match = _HUB_NAME.match(text)
        if match is None:
            raise ValueError(
                f"source '{text}' is not of the form hf:ORG/NAME[/CONFIG][@REVISION], e.g. "
                "hf:org/beans or hf:org/beans/small@v1.0"
            )
        return HubName(match["repo"], match["config"], match["revision"])
    if text.startswith(MEDMNIST):
        return _parse_medmnist(text.removeprefix(MEDMNIST))
    raise ValueError(
        f"source '{text}' is of no known kind; give hf:ORG/NAME or medmnist:NAME, or a folder with "
        "`path:`"
    )


def _parse_medmnist(text: str) -> MedmnistName:
    name, _, size = text.lower().partition("_")
    sizes = {str(known): known for known in MEDMNIST_SIZES}
    if name == "chestmnist":
        raise ValueError("medmnist 'chestmnist' is multi-label data, which is not supported")
    if name.endswith("mnist3d"):
        raise ValueError(f"medmnist '{name}' holds volumes (3D); only flat images are supported")
    if name not in MEDMNIST_NAMES:
        near = difflib.get_close_matches(name, MEDMNIST_NAMES, n=3, cutoff=0.5)
        meant = f"did you mean {some(near)}?" if near else f"known: {some(MEDMNIST_NAMES)}"
        raise ValueError(f"unknown medmnist set '{name}'; {meant}")
    if size and size not in sizes:
        raise ValueError(
            f"medmnist '{text}' has no size '{size}'; give {name} (28 pixels), {name}_64, "
            f"{name}_128 or {name}_224"
        )
    return MedmnistName(name, sizes.get(size, 28))


@functools.cache
def medmnist_info() -> Mapping[str, Mapping[str, Any]]:
    """MedMNIST's own table of facts; empty where the package is not installed.

    Read as a literal from its file: importing the package would import torch and make a folder in
    the user's home.
    """
    found = importlib.util.find_spec("medmnist")
    if found is None or found.origin is None:
        return {}
    module = ast.parse(Path(found.origin).with_name("info.py").read_text(encoding="utf-8"))
    for statement in module.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "INFO":
            table: dict[str, Mapping[str, Any]] = ast.literal_eval(statement.value)
            return table
    return {}
