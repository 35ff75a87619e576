"""What single values of a sweep file may be: names, places, subsets, durations, seeds."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
SUBSET_PATTERN = re.compile(
    r"^(?:full|(?P<percent>[0-9]+(?:\.[0-9]+)?)%|(?P<shots>[1-9][0-9]*)-shot)\Z"
)
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 2000
"""Linux takes 255 and, with the folder before it, 4,096; it raises on more, where it is asked."""
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(
    "".join(rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?)\s*{unit}\s*)?" for unit in _SECONDS) + r"\Z"
)


def parse_duration_s(text: str) -> float:
    """Seconds of ``90s``, ``30m``, ``8h``, ``2d``, ``1h30m``: each unit once, larger ones first.

    Raises:
        ValueError: no unit, or nothing above zero.
    """
    match = _DURATION.match(text.strip())
    counts = {} if match is None else {u: float(n) for u, n in match.groupdict().items() if n}
    if not counts:
        raise ValueError(f"a duration carries its unit (90s, 30m, 8h, 2d, 1h30m), got '{text}'")
    seconds = sum(count * _SECONDS[unit] for unit, count in counts.items())
    if seconds <= 0:
        raise ValueError(f"a duration must be above zero, got '{text}'")
    return seconds


def as_json(value: Any) -> str:
    """A value as the sweep file shows it, cut to what a message can hold."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _subset(value: Any) -> Any:
    match = SUBSET_PATTERN.match(value) if isinstance(value, str) else None
    if match is None or (match["percent"] and not 0 < float(match["percent"]) < 100):
        raise ValueError(
            f"got {as_json(value)}; give full, a percentage as 10%, or shots as 5-shot"
        )
    return value


def _place(value: Any) -> Any:
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"got {as_json(value)}; no file has a NUL in its name")
    if isinstance(value, str) and "://" not in value:
        parts = value.encode("utf-8", "surrogatepass").split(b"/")
        if max(map(len, parts)) > MAX_NAME_BYTES or sum(map(len, parts)) > MAX_PATH_BYTES:
            raise ValueError(
                f"got {as_json(value)}; a file's name has at most {MAX_NAME_BYTES} bytes, its "
                f"path at most {MAX_PATH_BYTES:,}"
            )
    return value


Place = Annotated[str, BeforeValidator(_place)]
Subset = Annotated[str, BeforeValidator(_subset)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # what a database's integer holds
