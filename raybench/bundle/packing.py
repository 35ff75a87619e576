"""Sweeps into a bundle."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from raybench.anonymity import without_traces
from raybench.bundle.layout import (
    CITATION,
    FORMAT,
    LEDGER,
    MANIFEST,
    PREDICTIONS,
    SPLITS,
    SWEEP_FILE,
    VERSIONS,
)
from raybench.joining import Source, unique_names
from raybench.predictions import StoredPredictions
from raybench.records import SweepSnapshot
from raybench.report.files import written_aside
from raybench.snapshot_json import to_json
from raybench.version import RESULT_VERSION, __version__

_SAME_DATE = (1980, 1, 1, 0, 0, 0)
_CITE = (
    "How to cite raybench: CITATION.cff beside its source. Data sets and pretrained weights have "
    "authors of their own.\n"
)


def write_bundle(sources: Sequence[Source], file: Path) -> Path:
    """Packs the sweeps into ``file``, in one step.

    Raises:
        HomeError: ``file`` cannot be written.
    """
    folders = unique_names(source.snapshot.sweep for source in sources)
    with written_aside(file) as stream:
        _pack(stream, dict(zip(folders, sources, strict=True)))
    return file


def _pack(stream: BinaryIO, sources: Mapping[str, Source]) -> None:
    digests: dict[str, str] = {}
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in _members(sources):
            archive.writestr(_info(name), content)
            digests[name] = hashlib.sha256(content).hexdigest()
        manifest = {
            "format": FORMAT,
            "raybench": __version__,
            "sweeps": list(sources),
            "members": digests,
        }
        archive.writestr(_info(MANIFEST), _json(manifest, indent=1))


def _info(name: str) -> zipfile.ZipInfo:
    """The same for the same content: no clock, no system, no mode of a file."""
    info = zipfile.ZipInfo(name, _SAME_DATE)
    info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
    info.external_attr = 0o644 << 16
    return info


def _members(sources: Mapping[str, Source]) -> Iterator[tuple[str, bytes]]:
    yield CITATION, _CITE.encode()
    snapshots = [source.snapshot for source in sources.values()]
    yield VERSIONS, _json(_versions(snapshots), indent=1)
    for folder, source in sources.items():
        clean = without_traces(source.snapshot)
        yield f"{folder}/{SWEEP_FILE}", _sweep_file(clean).encode()
        yield f"{folder}/{LEDGER}", _json(to_json(clean))
        for name, text in sorted(source.splits().items()):
            yield f"{folder}/{SPLITS}/{name}.jsonl", text.encode()
        yield from _predictions(folder, source)


def _predictions(folder: str, source: Source) -> Iterator[tuple[str, bytes]]:
    if not isinstance(source.predictions, StoredPredictions):
        return
    for pair in source.snapshot.pairs:
        for trial in pair.final_trials():
            content = source.predictions.content(trial)
            if content is not None and trial.end is not None:
                yield f"{folder}/{PREDICTIONS}/{trial.end.predictions_path}", content


def _sweep_file(snapshot: SweepSnapshot) -> str:
    plain = json.loads(json.dumps(snapshot.spec))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def _versions(snapshots: Sequence[SweepSnapshot]) -> dict[str, Any]:
    """Of this raybench, and every device, precision and library that trials say they ran with."""
    seen: dict[str, set[str]] = {}
    for snapshot in map(without_traces, snapshots):
        ends = (trial.end for pair in snapshot.pairs for trial in pair.trials)
        for end in filter(None, ends):
            for name, value in end.facts.items():
                if isinstance(value, str):
                    seen.setdefault(name, set()).add(value)
    trials = {name: sorted(values) for name, values in sorted(seen.items())}
    return {"raybench": __version__, "result_version": RESULT_VERSION, "trials": trials}


def _json(value: Any, indent: int | None = None) -> bytes:
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(value, allow_nan=False, indent=indent, separators=separators).encode()
