"""A whole sweep as text and back, exactly: how a snapshot travels from a cluster to a laptop.

``to_json`` gives plain JSON types, ``pack`` compressed text that any log can carry.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import Any

from raybench.errors import ResourceError
from raybench.measurements import Profile
from raybench.records import EndRecord, EpochRecord, PairRow, SweepSnapshot, TrialRow
from raybench.version import __version__

FORMAT = 1
"""Raised when ``from_json`` can no longer read what ``to_json`` wrote before."""

MAX_BYTES = 2 << 30
"""Unpacked; a few kilobytes of packed text can stand for any number."""


def to_json(snapshot: SweepSnapshot) -> dict[str, Any]:
    """As JSON types. Floats keep every bit; integers stay integers."""
    data = _shallow(snapshot)
    data["pairs"] = [_pair_to_json(pair) for pair in snapshot.pairs]
    data["profiles"] = [profile.to_dict() for profile in snapshot.profiles]
    return {"format": FORMAT, "raybench": __version__, "snapshot": data}


def from_json(data: Mapping[str, Any]) -> SweepSnapshot:
    """Inverse of ``to_json``; keys of a newer version are ignored.

    Raises:
        ResourceError: it is of another format, or no snapshot.
    """
    try:
        if data.get("format") == FORMAT:
            return _snapshot_from_json(data["snapshot"])
        found = f"format {data.get('format')} (raybench {data.get('raybench')})"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResourceError(f"no snapshot: {type(error).__name__}: {error}") from None
    raise ResourceError(
        f"the snapshot is of {found}, this raybench {__version__} reads format {FORMAT}; use the "
        "same version on both sides"
    )


def pack(snapshot: SweepSnapshot) -> str:
    """One line of ASCII, at most some 180 bytes per epoch (80,000: 14 MB, 3 s for both ways)."""
    text = json.dumps(to_json(snapshot), separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), level=6)).decode("ascii")


def unpack(text: str) -> SweepSnapshot:
    """Inverse of ``pack``.

    Raises:
        ResourceError: cut off or damaged on its way, or of another format.
    """
    try:
        data = json.loads(_decompressed(base64.b64decode(text, validate=True)))
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise ResourceError(f"the snapshot was damaged on its way: {error}") from None
    return from_json(data)


def _decompressed(packed: bytes) -> bytes:
    """Raises ValueError where it is cut off, or larger than any sweep."""
    stream = zlib.decompressobj()
    text = stream.decompress(packed, MAX_BYTES)
    if not stream.eof:
        raise ValueError("cut off" if len(text) < MAX_BYTES else f"over {MAX_BYTES:,} bytes")
    return text


def _snapshot_from_json(data: Mapping[str, Any]) -> SweepSnapshot:
    fields = dict(data)
    fields["pairs"] = tuple(_pair_from_json(pair) for pair in fields["pairs"])
    fields["profiles"] = tuple(Profile.from_dict(profile) for profile in fields["profiles"])
    return SweepSnapshot(**_known(SweepSnapshot, fields))


def _pair_to_json(pair: PairRow) -> dict[str, Any]:
    return _shallow(pair) | {"trials": [_trial_to_json(trial) for trial in pair.trials]}


def _pair_from_json(data: Mapping[str, Any]) -> PairRow:
    fields = _known(PairRow, data)
    for key in ("final_seeds", "final_configs"):
        fields[key] = tuple(fields[key])
    fields["trials"] = tuple(_trial_from_json(trial) for trial in fields["trials"])
    return PairRow(**fields)


def _trial_to_json(trial: TrialRow) -> dict[str, Any]:
    end = None if trial.end is None else _shallow(trial.end)
    return _shallow(trial) | {"epochs": [_shallow(epoch) for epoch in trial.epochs], "end": end}


def _trial_from_json(data: Mapping[str, Any]) -> TrialRow:
    fields = _known(TrialRow, data)
    for key in ("configs", "failures"):
        fields[key] = tuple(fields[key])
    fields["epochs"] = tuple(EpochRecord(**_known(EpochRecord, e)) for e in fields["epochs"])
    if fields["end"] is not None:
        fields["end"] = EndRecord(**_known(EndRecord, fields["end"]))
    return TrialRow(**fields)


_NAMES: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in dataclasses.fields(kind))
    for kind in (SweepSnapshot, PairRow, TrialRow, EpochRecord, EndRecord)
}


def _shallow(value: Any) -> dict[str, Any]:
    """Fields by name; ``dataclasses.asdict`` copies deeply, which takes ten times as long."""
    return {name: getattr(value, name) for name in _NAMES[type(value)]}


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in _NAMES[kind] if name in data}
