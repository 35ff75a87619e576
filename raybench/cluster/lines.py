"""Lines for machines among a job's output, which is all that a cluster's job can say.

Each is ``::raybench {"<kind>": ...}``: ``begun`` with versions and home, ``progress`` with the live
table, ``result`` before the leaderboard, ``ended`` with the exit code, ``snapshot`` as packed text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raybench.version import LEDGER_SCHEMA, RESULT_VERSION, __version__

MARK = "::raybench "
_RAYS = re.compile(r"Running entrypoint for job |\S+ \S+\tINFO job_manager\.py:")


def machine_line(kind: str, content: Any) -> str:
    """One line, without its end."""
    return MARK + json.dumps({kind: content}, separators=(",", ":"))


def parse_line(line: str) -> tuple[str, Any] | None:
    """Kind and content; None where the line is for people, was cut off, or is not as we write it.

    What a trial's own code prints stands in the same log.
    """
    if not line.startswith(MARK):
        return None
    try:
        ((kind, content),) = json.loads(line.removeprefix(MARK)).items()
    except (ValueError, AttributeError, RecursionError):
        return None
    return (kind, content) if _FITS.get(kind, _anything)(content) else None


def _anything(content: Any) -> bool:
    """A newer raybench's kind, which is passed over."""
    return True


def _fits_begun(content: Any) -> bool:
    return isinstance(content, dict) and _are_texts(map(content.get, ("raybench", "home")))


def _fits_progress(content: Any) -> bool:
    if not isinstance(content, dict) or not isinstance(rows := content.get("rows"), list):
        return False
    is_told = type(content.get("at_s")) in (int, float) and isinstance(content.get("caption"), str)
    return is_told and all(isinstance(row, list) and _are_texts(row) for row in rows)


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


_FITS: dict[str, Callable[[Any], bool]] = {
    "begun": _fits_begun,
    "progress": _fits_progress,
    "result": lambda content: content is True,
    "ended": lambda content: type(content) is int,
    "snapshot": lambda content: isinstance(content, str),
}


def is_rays(line: str) -> bool:
    """Whether Ray, and not the job, has said it; such lines may stand behind the job's first."""
    return _RAYS.match(line) is not None


def own_lines(output: str) -> list[str]:
    """What a job itself has said, to people and to machines, without empty lines."""
    return [line for line in output.splitlines() if line.strip() and not is_rays(line)]


def versions() -> dict[str, Any]:
    """What must agree between the two sides, or be told."""
    return {
        "raybench": __version__,
        "result_version": RESULT_VERSION,
        "ledger_schema": LEDGER_SCHEMA,
    }


@dataclass(frozen=True)
class Submitted:
    """Who has sent a job, which then speaks to that side.

    Attributes:
        versions: of the sender. again: the command that sent it. address: the cluster, as the
            sender names it.
    """

    versions: Mapping[str, Any]
    again: str
    address: str

    def to_text(self) -> str:
        return json.dumps(vars(self), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Submitted:
        data = json.loads(text)
        return cls(data["versions"], data["again"], data["address"])

    def refusal(self) -> str:
        """Why this raybench must not do what the other one asks; empty where it may."""
        ours, theirs = versions(), self.versions
        if all(ours[key] == theirs.get(key) for key in ("result_version", "ledger_schema")):
            return ""
        return (
            f"the cluster has raybench {ours['raybench']}, the sender {theirs.get('raybench')}; "
            "they give other results or keep them otherwise; install the same on both sides"
        )
