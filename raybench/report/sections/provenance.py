"""Where the numbers come from: protocol, budget, splits, versions, and how to run it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from raybench.analysis import numbers
from raybench.analysis.results import PairResult
from raybench.records import EndRecord, PairRow
from raybench.report.blocks import (
    Block,
    Cell,
    Code,
    Column,
    Facts,
    Heading,
    Row,
    Section,
    Table,
    Words,
)
from raybench.report.view import View
from raybench.version import __version__

_SECTIONS = ("recipe", "space", "search", "budget", "final", "resources")
_VALUES_SHOWN = 6
PLACES = (
    "Files, folders and addresses are named here by their last part only, hosts and users not at "
    "all: put your own places in before you run it."
)


def provenance_section(view: View) -> Section:
    """Protocol and environment, splits with digests, the budget spent, the commands, the file."""
    snapshot, results = view.analysis.snapshot, view.analysis.results
    name = numbers.clean(snapshot.sweep)
    commands = f"raybench run {name}.yaml\nraybench report {name} --html {name}.html"
    blocks: list[Block] = [
        Facts(
            _protocol(snapshot.spec) | _environment(results) | {"report": f"raybench {__version__}"}
        ),
        *_splits(results),
        *_spent(view, results),
        Heading("How to reproduce"),
        Words(
            [
                f"Save the sweep below as {name}.yaml. The first command runs it, or only what is "
                "missing where some of it is there already; the second writes this page.",
                PLACES,
            ]
        ),
        Code(commands),
        Code(_spec_yaml(snapshot.spec), "The whole sweep, defaults included"),
    ]
    return Section("provenance", "Protocol and provenance", "Provenance", blocks)


def _protocol(spec: Mapping[str, Any]) -> dict[str, str]:
    """The spec's sections that decide what the numbers mean, each on one line."""
    lines = {name: _flat(spec[name]) for name in _SECTIONS if spec.get(name)}
    return lines | ({"seed": str(spec["seed"])} if "seed" in spec else {})


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_nested(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list | tuple):
        return ", ".join(_nested(v) for v in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _nested(value: Any) -> str:
    text = _flat(value)
    return f"({text})" if isinstance(value, Mapping | list | tuple) else text


def _environment(results: Sequence[PairResult]) -> dict[str, str]:
    """Devices, precision and versions that the trials report, with every value seen."""
    ends: list[EndRecord] = [t.end for r in results for t in r.pair.trials if t.end is not None]
    seen: dict[str, set[str]] = {}
    for end in ends:
        for key, value in end.facts.items():
            if key not in {"parameters", "train_images"}:
                seen.setdefault(key, set()).add(_flat(value))
    reported = {
        key.replace("_", " "): ", ".join(sorted(values)[:_VALUES_SHOWN])
        for key, values in sorted(seen.items())
    }
    return reported | {"this page": f"raybench {__version__}"}


def _splits(results: Sequence[PairResult]) -> list[Block]:
    """Split sizes of each task, from the first pair whose preflight has run."""
    tasks: dict[str, PairRow] = {}
    for result in results:
        if result.pair.facts:
            tasks.setdefault(result.task, result.pair)
    if not tasks:
        return []
    columns = [
        Column("Task", numeric=False),
        Column("Domain", numeric=False),
        *map(Column, ("Classes", "Train", "Validation", "Test")),
        Column("Data digest", numeric=False),
        Column("Split digest", numeric=False),
    ]
    rows = [_split(task, pair) for task, pair in tasks.items()]
    return [Table("Data and splits", columns, rows)]


def _split(task: str, pair: PairRow) -> Row:
    facts = pair.facts
    digests = (
        facts.get("data_digest", numbers.MISSING),
        facts.get("split_digest", numbers.MISSING),
    )
    return Row(
        [
            Cell(task),
            Cell(numbers.clean(str(facts.get("domain", numbers.MISSING)))),
            *(
                _count(pair, key)
                for key in ("classes", "train_images", "val_images", "test_images")
            ),
            *(Cell(_abbreviated(str(digest)), str(digest), tone="code") for digest in digests),
        ],
        task=task,
    )


def _abbreviated(digest: str, characters: int = 19) -> str:
    text = numbers.clean(digest)
    return text if len(text) <= characters else text[:characters] + "…"


def _count(pair: PairRow, key: str) -> Cell:
    if key not in pair.facts:
        return Cell()
    count = int(pair.facts[key])
    return Cell(f"{count:,}", count)


def _spent(view: View, results: Sequence[PairResult]) -> list[Block]:
    """Per backbone: was the budget the same, and what did it come to."""
    if not results:
        return []
    by_backbone: dict[str, list[PairResult]] = {}
    for result in results:
        by_backbone.setdefault(result.pair.backbone, []).append(result)
    titles = ("Tasks", "Search trials", "Epochs", "Search", "Finals", "Failed trials")
    columns = [
        Column("Backbone", numeric=False),
        *map(Column, titles),
        Column("Weights (SHA-256)", numeric=False),
    ]
    rows = [_spending(view, name, found) for name, found in by_backbone.items()]
    note = "Per pair: see Every pair. Times: wall time × share of the device (CPU: cores)."
    return [Table("Budget spent and weights, per backbone", columns, rows, note)]


def _spending(view: View, backbone: str, found: Sequence[PairResult]) -> Row:
    counts = [r.counts for r in found]
    totals = (
        len(found),
        sum(c.complete + c.pruned + c.failed for c in counts),
        sum(r.epochs for r in found),
    )
    seconds = (
        sum(r.search_device_seconds for r in found),
        sum(r.final_device_seconds for r in found),
    )
    failed = sum(len(r.failures) for r in found)
    return Row(
        [
            view.backbone(backbone),
            *(Cell(f"{total:,}", total) for total in totals),
            *(Cell(numbers.duration(spent), round(spent, 1)) for spent in seconds),
            Cell(str(failed), failed),
            _weights(found[0].pair),
        ]
    )


def _weights(pair: PairRow) -> Cell:
    """Digest of the file; its name below. A dash where training starts from random numbers."""
    digest = str(pair.facts.get("weights_sha256", ""))
    if not digest:
        return Cell()
    file = numbers.clean(str(pair.facts.get("weights_file", "")))
    return Cell(_abbreviated(digest), digest, note=file, tone="code")


def _spec_yaml(spec: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(spec))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
