"""From a sweep file to a spec, or to every mistake in it at once.

Three passes over one list of mistakes: ``shape``, and from ``checks`` keys against each other, and
names and paths. Each mistake carries its line, its key, what was given and what to give instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from raybench.backbones.cards import GROUPS
from raybench.backbones.index import is_pattern, is_weights_file
from raybench.backbones.patterns import expand_pattern
from raybench.checks import check_names, check_values
from raybench.datasets.sources.names import is_source, source_entry
from raybench.errors import SpecError
from raybench.fields import as_json
from raybench.methods import method_of, switch_method
from raybench.mistakes import Mistakes
from raybench.redaction import secret_in, texts_in
from raybench.shape import Origins, parse_shape
from raybench.spec import SweepSpec
from raybench.travelling import Travel
from raybench.yamlio import KeyPath, parse_file, parse_yaml

_BY_NAME = (
    "put it into an environment variable and write ${ITS_NAME} in its place, as in "
    "https://${USER}:${TOKEN}@host/w.pt or ...?sig=${SIGNATURE}"
)


def load_spec(
    source: str | Path,
    overrides: Sequence[str] = (),
    tell: Callable[[str], None] = lambda sentence: None,
    travel: Travel | None = None,
) -> SweepSpec:
    """Read, override and check a sweep file.

    Args:
        source: a path, or the name of a shipped file (``quickstart``).
        overrides: ``key.path=value`` strings, applied before anything is checked. One that
            changes ``recipe.method`` fits the rest of the file to it (``methods``).
        tell: hears what was fitted.
        travel: it will run on another machine, whose paths are not looked for here.

    Raises:
        SpecError: with every mistake found.
    """
    path = find_spec(source)
    raw, lines = parse_file(path)
    if not isinstance(raw, dict):
        raise SpecError(
            f"{path.name}: a sweep file is a mapping of keys (name, backbones, datasets ...), "
            f"got {as_json(raw)}; 'raybench validate quickstart' checks a shipped one"
        )
    before = method_of(raw)
    fitted = switch_method(raw, before, _override_all(raw, overrides, lines))
    spec = check_spec(raw, lines, path.parent.resolve(), path.name, travel)
    if fitted:
        tell(fitted)
    return spec


def find_spec(source: str | Path) -> Path:
    """The file itself, or the shipped one of that name.

    Raises:
        SpecError: neither exists; names the shipped ones.
    """
    path = Path(source)
    if path.is_file():
        return path
    shipped = shipped_specs()
    name = str(source)
    if name in shipped:
        return shipped[name]
    if path.is_dir():
        raise SpecError(f"'{source}' is a folder; give a sweep file in it")
    raise SpecError(f"no file '{source}'; shipped sweeps are {', '.join(sorted(shipped))}")


def shipped_specs() -> dict[str, Path]:
    """Name -> path of the sweep files that come with the package."""
    package = Path(__file__).resolve().parent
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def check_spec(
    raw: dict[str, Any],
    lines: dict[KeyPath, int],
    base: Path,
    source: str = "",
    travel: Travel | None = None,
) -> SweepSpec:
    """Validate plain data; relative paths are taken from ``base``.

    Raises:
        SpecError: with every mistake found.
    """
    mistakes = Mistakes(lines, source)
    _refuse_secrets(raw, mistakes)
    data, origins = _expand(raw)
    spec, broken = parse_shape(data, origins, mistakes)
    if spec is not None:
        gone = set() if travel is None else travel.left_behind(spec, origins, base, mistakes)
        spec = _absolute_paths(spec, base)
        check_values(spec, raw, broken, mistakes)
        check_names(spec, origins, mistakes, {_absolute(text, base) for text in gone})
    if spec is None or mistakes:
        raise SpecError(mistakes.sentences)
    return spec


def _refuse_secrets(raw: dict[str, Any], mistakes: Mistakes) -> None:
    """The file's content goes to ledger, MLflow and reports; there only a secret's name may be."""
    for path, text in texts_in(raw):
        if found := secret_in(text):
            mistakes.add(path, f"holds {found}; {_BY_NAME}")


def _expand(raw: dict[str, Any]) -> tuple[dict[str, Any], Origins]:
    """Strings become mappings, groups their members; keeps which entry each came from."""
    data = dict(raw)
    origins: Origins = {"backbones": [], "datasets": []}
    for key, single in (("backbones", _backbone_entries), ("datasets", _dataset_entries)):
        entries = raw.get(key)
        if not isinstance(entries, list):
            continue
        expanded: list[Any] = []
        for index, entry in enumerate(entries):
            members = single(entry)
            expanded += members
            origins[key] += [index] * len(members)
        data[key] = expanded
    return data, origins


def _backbone_entries(entry: Any) -> list[Any]:
    if isinstance(entry, str) and entry in GROUPS:
        return [member.model_dump(mode="json") for member in GROUPS[entry]]
    if isinstance(entry, str) and is_pattern(entry):
        try:
            return [member.model_dump(mode="json") for member in expand_pattern(entry)]
        except SpecError:
            return [{"name": entry}]  # ``check_names`` says what is wrong with it
    return [{"name": entry}] if isinstance(entry, str) else [entry]


def _dataset_entries(entry: Any) -> list[Any]:
    if isinstance(entry, str):
        entry = {"name": entry}
    if isinstance(entry, dict) and "source" not in entry and is_source(str(entry.get("name", ""))):
        name, source = source_entry(str(entry["name"]))
        return [{**entry, "name": name, "source": source}]
    if isinstance(entry, dict) and "name" not in entry and isinstance(entry.get("path"), str):
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(entry["path"]).stem).strip("._-")[:64]
        return [{"name": name, **entry}] if name else [entry]
    return [entry]


def _override_all(
    raw: dict[str, Any], overrides: Sequence[str], lines: dict[KeyPath, int]
) -> set[KeyPath]:
    """Apply all; returns the paths that were set."""
    mistakes: list[str] = []
    given = set()
    for override in overrides:
        try:
            path = _override(raw, override)
            given.add(path)
            lines[path] = Mistakes.FROM_SET
            for depth in range(1, len(path)):
                lines.setdefault(path[:depth], Mistakes.FROM_SET)
        except SpecError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SpecError(mistakes)
    return given


def _override(raw: dict[str, Any], override: str) -> KeyPath:
    """Apply one ``key.path=value``, list items by index; returns the path."""
    path, separator, text = override.partition("=")
    if not separator or not all(path.split(".")):
        raise SpecError(f"--set {override}: write key=value, e.g. recipe.epochs=5")
    value, _ = parse_yaml(text, f"--set {path}")
    nowhere = SpecError(f"--set {override}: there is no place '{path}' in the file")
    target: Any = raw
    keys: list[str | int] = []
    *parents, last = path.split(".")
    try:
        for part in parents:
            keys.append(_key_in(target, part))
            target = _below(target, keys[-1])
        keys.append(_key_in(target, last))
        target[keys[-1]] = value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise nowhere from None
    return tuple(keys)


def _below(container: Any, key: str | int) -> Any:
    return container.setdefault(key, {}) if isinstance(container, dict) else container[key]


def _key_in(container: Any, part: str) -> str | int:
    if not isinstance(container, list):
        return part
    if not part.isdecimal():
        raise ValueError(part)
    return int(part)


def _absolute(text: str, base: Path) -> str:
    # os.path, because pathlib raises on links in a circle and on the home of nobody
    return os.path.realpath(base / os.path.expanduser(text))  # noqa: PTH111


def _absolute_paths(spec: SweepSpec, base: Path) -> SweepSpec:
    def absolute(text: str | None) -> str | None:
        return None if text is None else _absolute(text, base)

    datasets = tuple(
        d.model_copy(update={"path": absolute(d.path), "root": absolute(d.root)})
        for d in spec.datasets
    )
    backbones = tuple(
        b.model_copy(update={"weights": _absolute(b.weights, base)})
        if is_weights_file(b.weights)
        else b
        for b in spec.backbones
    )
    return spec.model_copy(update={"datasets": datasets, "backbones": backbones})
