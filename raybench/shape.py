"""The shape of a sweep file: pydantic's problems in our words, all of them at once.

A first look collects every problem. Then what is wrong is taken out, so that names, paths and the
sections that are sound can still be checked in the same go.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from raybench import spec as models
from raybench.fields import as_json
from raybench.mistakes import Mistakes, nearest
from raybench.space import Range
from raybench.spec import SweepSpec
from raybench.yamlio import KeyPath

Origins = dict[str, list[int]]
"""``backbones`` and ``datasets``: index after expansion -> index in the file."""

_ROUNDS = 6
_PLACEHOLDERS = {
    "name": "unnamed",
    "backbones": [{"name": "timm:resnet18"}],
    "datasets": [{"name": "digits"}],
}
_WORDS = {
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "bool_type": "give true or false",
    "string_type": "give text",
    "string_too_short": "give text",
    "string_too_long": "give at most 255 characters",
    "tuple_type": "give a list",
    "dict_type": "give a mapping of keys",
    "model_type": "give a mapping of keys",
    "string_pattern_mismatch": "use 1 to 64 letters, digits, dots, dashes and underscores, "
    "the first a letter or digit",
}


def parse_shape(
    data: dict[str, Any], origins: Origins, mistakes: Mistakes
) -> tuple[SweepSpec | None, set[str]]:
    """The spec without its wrong keys, and the sections that were wrong in more than a name.

    Entries that had to go leave ``origins`` as well. None where nothing sound remains.
    """
    try:
        spec, problems = _attempt(data)
    except ValueError as error:  # text that JSON cannot carry, e.g. half a surrogate pair
        mistakes.add((), f"cannot be read: {error}")
        return None, set()
    broken = set()
    for problem in problems:
        location = _in_file(problem["loc"], origins)
        if problem["type"] != "extra_forbidden":
            broken.add(str(location[0]))
        mistakes.add(location, _phrase(problem, location))
    kept: dict[str, Any] = json.loads(json.dumps(data))
    for _ in range(_ROUNDS):
        if spec is not None:
            break
        gone: list[KeyPath] = []
        for path in sorted((p["loc"] for p in problems), key=_last_first, reverse=True):
            if not any(path[: len(taken)] == taken for taken in gone):
                gone.append(_remove(kept, path, origins))
        spec, problems = _attempt(kept)
    return spec, broken


def _attempt(data: dict[str, Any]) -> tuple[SweepSpec | None, list[Any]]:
    try:
        return SweepSpec.model_validate_json(json.dumps(data)), []
    except ValidationError as error:
        problems = error.errors(include_url=False)
    if any(not problem["loc"] for problem in problems):
        raise ValueError(str(problems[0]["msg"]))
    # A list whose items are wrong is also called too short; its items say it all.
    return None, [p for p in problems if p["type"] != "too_short" or not p["input"]]


def _last_first(path: KeyPath) -> tuple[tuple[bool, int, str], ...]:
    """Orders paths so that, reversed, items are removed before those that stand in front."""
    return tuple(
        (isinstance(part, int), part if isinstance(part, int) else 0, str(part)) for part in path
    )


def _remove(kept: dict[str, Any], path: KeyPath, origins: Origins) -> KeyPath:
    """Take out the deepest part of ``path`` that is there; a required section gets a stand-in.

    Returns what was taken out: other problems below it have gone with it.
    """
    if path[0] not in kept:
        if path[0] in _PLACEHOLDERS:
            kept[str(path[0])] = copy.deepcopy(_PLACEHOLDERS[str(path[0])])
        return path[:1]
    if path[0] == "datasets" and path[2:] == ("path",):
        path = path[:2]  # without its path it would be taken for a data set known by name
    parent: Any = kept
    depth = 0
    while depth + 1 < len(path) and _holds(parent[path[depth]], path[depth + 1]):
        parent = parent[path[depth]]
        depth += 1
    del parent[path[depth]]
    if path[0] in origins:
        if depth == 0:
            origins[str(path[0])].clear()
        elif depth == 1:
            del origins[str(path[0])][int(path[1])]
    return path[: depth + 1]


def _holds(container: Any, key: str | int) -> bool:
    if isinstance(container, list):
        return isinstance(key, int) and key < len(container)
    return isinstance(container, dict) and key in container


def _in_file(path: KeyPath, origins: Origins) -> KeyPath:
    """Back from the expanded index to the one in the file."""
    if len(path) > 1 and path[0] in origins and isinstance(path[1], int):
        return (path[0], origins[str(path[0])][path[1]], *path[2:])
    return path


def _phrase(problem: Mapping[str, Any], location: KeyPath) -> str:
    kind, given = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(location[-1]), _known_keys(location[:-1]))}"
    if kind == "missing":
        return "is required"
    if kind == "too_short":
        return "is empty; give at least one"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if kind == "value_error":
        return message
    if kind == "literal_error":
        message = f"give {problem['ctx']['expected']}"
    elif location[-1] == "weights" and given is None:
        message = "for random weights write none"
    elif kind in ("int_type", "float_type") and _is_quoted_number(given):
        message = "write the number without quotes"
    else:
        message = _WORDS.get(kind, message.replace("Input should be", "must be"))
    return f"got {as_json(given)}; {message}"


def _is_quoted_number(given: Any) -> bool:
    try:
        return isinstance(given, str) and float(given) is not None
    except ValueError:
        return False


def _known_keys(parent: KeyPath) -> list[str]:
    """Keys of the model at ``parent``; only ranges stand under names of the user's choice."""
    model: Any = SweepSpec
    for part in parent:
        if isinstance(part, str):
            field = model.model_fields.get(part)
            annotation = str(field.annotation) if field is not None else ""
            model = next((m for m in _MODELS if f".{m.__name__}" in annotation), Range)
    return list(model.model_fields)


_MODELS = (
    models.BackboneSpec,
    models.DatasetSpec,
    models.ColumnsSpec,
    models.SplitSpec,
    models.Recipe,
    models.Stage,
    models.Search,
    models.Budget,
    models.Final,
    models.Resources,
)
