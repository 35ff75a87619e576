"""YAML as people mean it: a strict, safe loader that remembers the line of every key.

PyYAML follows YAML 1.1, where ``1e-3`` is a string, ``no`` a boolean, ``12:30`` the number 750,
``010`` the number 8, and a repeated key silently wins. Here numbers and booleans are YAML 1.2's
(core schema), repeated keys, anchors and tags are refused, and nothing but plain data can be built.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from raybench.errors import SpecError

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_DIGITS = 400  # more than any float has; Python itself refuses 4,300
KeyPath = tuple[str | int, ...]
_OPENING = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's implicit types."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def check_plain(self) -> bool:
        """YAML reserves a leading ``@`` for later; here it names a group (``- @paper``)."""
        return self.peek() == "@" or bool(super().check_plain())


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def _construct_float(loader: yaml.SafeLoader, node: yaml.Node) -> float:
    text = str(loader.construct_scalar(node)).lower()  # type: ignore[arg-type]
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _construct_int(loader: yaml.SafeLoader, node: yaml.Node) -> int:
    text = str(loader.construct_scalar(node))  # type: ignore[arg-type]
    if len(text) > MAX_DIGITS:
        problem = f"a number of {len(text)} digits"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return int(text)


_StrictLoader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def parse_yaml(text: str, source: str = "") -> tuple[Any, dict[KeyPath, int]]:
    """Plain data and the 1-based line of every key path.

    Raises:
        SpecError: no YAML, a repeated key, an anchor, a tag, or too large; with the line.
    """
    prefix = f"{source}: " if source else ""
    if len(text.encode()) > MAX_BYTES:
        raise SpecError(f"{prefix}the file is larger than {MAX_BYTES:,} bytes")
    loader: _StrictLoader | None = None
    try:
        loader = _StrictLoader(text)
        _refuse_excess(text, prefix)
        node = loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        mistakes = [prefix + mistake for mistake in _index_lines(node, (), lines)]
        if mistakes:
            raise SpecError(mistakes)
        return (None if node is None else loader.construct_document(node)), lines
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise SpecError(f"{prefix}{line}no valid YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        place = f"{prefix}line {text.count(chr(10), 0, error.position) + 1}: "
        raise SpecError(f"{place}no valid YAML: {str(error).splitlines()[0]}") from None
    finally:
        if loader is not None:
            loader.dispose()


def parse_file(path: Path) -> tuple[Any, dict[KeyPath, int]]:
    """``parse_yaml`` of a file.

    Raises:
        SpecError: also when the file is missing, a folder, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig") if len(content) <= MAX_BYTES else "#" * len(content)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path}: is no UTF-8 text (byte {error.start}); a sweep file is YAML"
        ) from None
    return parse_yaml(text, path.name)


def _refuse_excess(text: str, prefix: str) -> None:
    """Anchors, tags (they build bytes, dates, sets), and nesting.

    PyYAML takes minutes over a line of brackets.
    """
    depth = 0
    for token in yaml.scan(text, Loader=_StrictLoader):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        line = token.start_mark.line + 1
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken):
            raise SpecError(
                f"{prefix}line {line}: anchors and aliases are not supported; write the value out"
            )
        if isinstance(token, yaml.TagToken):
            raise SpecError(f"{prefix}line {line}: tags are not supported; write the plain value")
        if depth > MAX_DEPTH:
            raise SpecError(f"{prefix}line {line}: nested more than {MAX_DEPTH} deep")


def _index_lines(node: yaml.Node | None, path: KeyPath, lines: dict[KeyPath, int]) -> list[str]:
    """Fill ``lines`` and return one sentence for each repeated or non-text key."""
    mistakes: list[str] = []
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                mistakes.append(f"line {line}: a key must be a plain word")
                continue
            if key in seen:
                mistakes.append(f"line {line}: '{key}' stands here and on line {seen[key]}")
            seen.setdefault(key, line)
            lines[(*path, key)] = line
            mistakes += _index_lines(value_node, (*path, key), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            mistakes += _index_lines(item, (*path, index), lines)
    return mistakes
