"""Patterns in a sweep file's ``backbones``: ``timm:convnext*.fb_in1k``, ``torchvision:resnet*``."""

from __future__ import annotations

import difflib
import re

from raybench.backbones.index import LIBRARIES, PATTERN_MARKS, list_backbones, load_index
from raybench.errors import SpecError
from raybench.spec import BackboneSpec

MOST_MATCHES = 200


def expand_pattern(text: str) -> list[BackboneSpec]:
    """The backbones that a pattern names, each with its weights tag said.

    With a dot the pattern is on ``library:name.tag`` and every tag that matches is one backbone;
    without, each name counts once, with its library's default tag, and names without published
    weights are left out.

    Args:
        text: a shell pattern (``*``, ``?``, ``[...]``) with its library in front.

    Raises:
        SpecError: nothing matches, or more than ``MOST_MATCHES`` do.
    """
    if text.partition(":")[0] not in LIBRARIES:
        raise SpecError(f"'{text}' needs its library in front: timm:PATTERN, torchvision:PATTERN")
    rows = list_backbones(text)
    specs = [
        _spec(row["name"], tag)
        for row in rows
        for tag in (row["weights"] if "." in text else row["weights"][:1])
    ]
    if len(specs) > MOST_MATCHES:
        raise SpecError(
            f"'{text}' names {len(specs):,} backbones, and a pattern may name at most "
            f"{MOST_MATCHES}; narrow it"
        )
    if rows and not specs:
        raise SpecError(f"'{text}' names only models without published weights; name them alone")
    if not specs:
        raise SpecError(f"'{text}' names no backbone{_hint(text)}")
    return specs


def _spec(name: str, tag: str) -> BackboneSpec:
    if name.startswith("timm:"):
        return BackboneSpec(name=f"{name}.{tag}")
    return BackboneSpec(name=name, weights=tag)


def _hint(text: str) -> str:
    """The tags that the names have where only the tag is wrong, else names like this one."""
    names, dot, _ = text.partition(".")
    if dot and (rows := list_backbones(names)):
        tags = sorted({tag for row in rows for tag in row["weights"]})
        near = difflib.get_close_matches(text.partition(".")[2], tags, n=5, cutoff=0.4)
        return f"; tags of '{names}' are like {_quoted(near or tags[:5])}" if tags else ""
    library, _, model = names.partition(":")
    known = load_index()[library]
    stems = {f"{name.partition('_')[0]}*" for name in known}
    plain = re.sub(f"[{re.escape(PATTERN_MARKS)}\\]]", "", model)
    near = difflib.get_close_matches(plain, [*known, *stems], n=3, cutoff=0.6)
    return f"; did you mean {_quoted([f'{library}:{name}' for name in near])}?" if near else ""


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
