"""A sweep without what tells of the machine and the people: hosts, users, places, processes.

Numbers and the names that the user gave (sweep, data sets, classes, images) stay. A place keeps its
last part: ``/home/me/photos`` is ``photos``.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from raybench.records import PairRow, SweepSnapshot, TrialRow
from raybench.redaction import redact, texts_in

_PLACES = frozenset({"path", "root", "weights"})
"""Keys of the sweep file whose whole value may be a path or an address."""
_WORD = r"[^\s'\"`<>|:;,()\[\]{}]"
_ADDRESS = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"`<>()\[\]{}]*")
_PATH = re.compile(rf"(?<![\w.~/<:-])(?:~[\w.-]*)?/{_WORD}+|\b[A-Za-z]:\\{_WORD}+")
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_NUMBERED = re.compile(
    rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w.]*\d)(?::\d+)?"
    r"|\b(?:[0-9a-fA-F]{1,4}:){4,7}[0-9a-fA-F]{1,4}\b|\bfe80::[0-9a-fA-F:]+"
)
_NAMED = re.compile(
    r"(?i)\b(host(?:[ _-]?name)?|node(?:[ _-]?(?:name|ip))?|ip|user(?:[ _-]?name)?|pid)"
    rf"(\s*[=:]\s*|\s+(?=\d)){_WORD}+"
)
HIDDEN = "***"


def without_traces(snapshot: SweepSnapshot) -> SweepSnapshot:
    """The sweep as strangers may see it; every number is as it was."""
    traces = _Traces(snapshot)
    return replace(
        snapshot,
        description=traces.out_of(snapshot.description),
        spec=_plain(snapshot.spec, traces.out_of_value),
        pairs=tuple(_pair(pair, traces) for pair in snapshot.pairs),
        profiles=tuple(replace(p, seen=traces.out_of(p.seen)) for p in snapshot.profiles),
        lease=None,
        ledger_id="",
    )


class _Traces:
    """What one sweep's texts may give away, and how it is taken out of them."""

    def __init__(self, snapshot: SweepSnapshot) -> None:
        places = sorted(_known_places(snapshot.spec), key=len, reverse=True)
        known = "|".join(map(re.escape, places))
        self._places = re.compile(rf"(?:{known})(?:/{_WORD}+)?" if places else r"(?!)")
        words = map(re.escape, sorted(_known_words(snapshot), key=len, reverse=True))
        self._words = re.compile("|".join(rf"(?<!\w){word}(?!\w)" for word in words) or r"(?!)")
        self.out_of = cache(self._out_of)
        self.out_of_value = cache(self._out_of_value)

    def _out_of(self, text: str) -> str:
        """Of a sentence: also names of hosts and users, which may be words that a value needs."""
        return self._words.sub(HIDDEN, self._out_of_value(text))

    def _out_of_value(self, text: str) -> str:
        # Known places first: only they may hold blanks.
        text = self._places.sub(lambda found: _last_part(found[0]), redact(text))
        text = _ADDRESS.sub(lambda found: _last_part(found[0].partition("://")[2], HIDDEN), text)
        text = _PATH.sub(lambda found: _last_part(found[0]), text)
        return _NUMBERED.sub(HIDDEN, _NAMED.sub(rf"\1\2{HIDDEN}", text))


def _pair(pair: PairRow, traces: _Traces) -> PairRow:
    return replace(
        pair,
        backbone=traces.out_of_value(pair.backbone),
        facts=_plain(pair.facts, traces.out_of_value),
        backbone_spec=_plain(pair.backbone_spec, traces.out_of_value),
        trials=tuple(_trial(trial, traces) for trial in pair.trials),
    )


def _trial(trial: TrialRow, traces: _Traces) -> TrialRow:
    end = trial.end
    if end is not None:
        end = replace(end, reason=traces.out_of(end.reason), facts=_plain(end.facts, traces.out_of))
    return replace(trial, failures=tuple(map(traces.out_of, trial.failures)), end=end)


def _plain(value: Any, clean: Callable[[str], str], key: str = "") -> Any:
    """JSON types; keys are ours."""
    if isinstance(value, str):
        return _last_part(value) if key in _PLACES else clean(value)
    if isinstance(value, Mapping):
        return {name: _plain(below, clean, name) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below, clean, key) for below in value]
    return value


def _last_part(place: str, alone: str = "") -> str:
    """``photos`` of ``/home/me/photos``; ``alone`` where a name stands by itself."""
    plain = place.partition("?")[0].replace("\\", "/").rstrip("/")
    if alone and "/" not in plain:
        return alone
    return PurePosixPath(plain).name or HIDDEN


def _known_words(snapshot: SweepSnapshot) -> set[str]:
    """Names of this machine, of its user, and of the machine that holds the lease."""
    host = socket.gethostname()
    users = (os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME"))
    held = str((snapshot.lease or {}).get("host", ""))
    found = {host, host.partition(".")[0], held, Path.home().name, *users}
    return {word for word in found if word}


def _known_places(spec: Mapping[str, Any]) -> set[str]:
    """Absolute ones of the sweep file, and where this process is at home."""
    named = {text for path, text in texts_in(spec) if path[-1] in _PLACES and "/" in text}
    found = named | {str(Path.home()), str(Path.cwd())}
    return {place for place in found if place.startswith(("/", "~")) and len(place) > 1}
